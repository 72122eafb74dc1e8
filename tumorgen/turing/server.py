"""Serving a study to a browser on this machine, and taking its answers.

What is served is a table made beforehand: the page, the study's description, the cases and the answers of each reader.
A request is looked up in it, so there is no path that leads to another file. All addresses begin with a token that is
drawn anew each time. The interface is the loopback; a request that calls this machine by another name (DNS rebinding)
or that another page sends is refused.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import TumorgenError
from .answers import Answer, answers_file, append_answer, read_answers
from .page_files import DATA_TYPE, JSON_TYPE, page_files
from .study import case_file, plain_study, read_study

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost")
_LONGEST_BODY = 4096
_NOWHERE = "\0"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src"
    " 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Served:
    """What an address stands for: a file, or content, and its media type."""

    content: Path | bytes
    kind: str


class StudyServer(ThreadingHTTPServer):
    """A study on the loopback interface; `address` is where its page is.

    Parameters
    ----------
    study
        The folder.
    port
        The port; 0 is any that is free.

    Raises
    ------
    TumorgenError
        The folder holds no study, a reader's answers cannot be read, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, study: Path, port: int = 0) -> None:
        shown = read_study(study)
        self.token = secrets.token_urlsafe(16)
        self.cases = frozenset(shown.starts_mm)
        self.answers = {f"answers/{quote(name)}": answers_file(study, name) for name in shown.readers}
        for path in self.answers.values():
            list_answers(path, self.cases)
        told = json.dumps({**plain_study(shown), "answers": "server"}).encode()
        self.served: Mapping[str, Served] = {
            **{name: Served(path, kind) for name, (path, kind) in page_files().items()},
            "": Served(*page_files()["index.html"]),
            "study.json": Served(told, JSON_TYPE),
            **{f"cases/{case}.nii": Served(case_file(study, case), DATA_TYPE) for case in self.cases},
        }
        self.writing = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise TumorgenError(f"port {port}: cannot be served on ({why}); choose another --port") from error

    @property
    def address(self) -> str:
        """Where the page is, with the token."""
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has closed its end."""


def list_answers(path: Path, cases: frozenset[str]) -> list[dict[str, Any]]:
    """A reader's answers as the page has them; none where the table is not there yet.

    Raises
    ------
    TumorgenError
        The table cannot be read.
    """
    return [_plain_answer(answer) for answer in read_answers(path, cases)] if path.exists() else []


def _plain_answer(answer: Answer) -> dict[str, Any]:
    place = [answer.x_mm, answer.y_mm, answer.z_mm]
    return {
        "case": answer.case,
        "answer": answer.answer,
        "confidence": answer.confidence,
        "place_mm": None if answer.x_mm is None else place,
        "seconds": answer.seconds,
    }


def parse_answer(body: bytes, cases: frozenset[str], now: datetime) -> Answer:
    """An answer that the page has sent.

    Raises
    ------
    TumorgenError
        It is none, or of a case that is not in the study.
    """
    try:
        told = json.loads(body)
        place = told["place_mm"] or (None, None, None)
        x, y, z = (None if value is None else float(value) for value in place)
        confidence = told["confidence"]
        if told["case"] not in cases or type(confidence) not in (int, type(None)):
            raise ValueError("no such case or confidence")
        said, seconds = str(told["answer"]), float(told["seconds"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TumorgenError(f"not an answer ({error})") from error
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Answer(told["case"], said, confidence, x, y, z, seconds, at)


class _Handler(BaseHTTPRequestHandler):
    """Looks addresses up in the server's table."""

    server: StudyServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tumorgen", ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer with what the address stands for."""
        name = self._name()
        try:
            if name in self.server.answers:
                self._say(list_answers(self.server.answers[name], self.server.cases))
            elif name in self.server.served:
                found = self.server.served[name]
                content = found.content if isinstance(found.content, bytes) else found.content.read_bytes()
                self._send(content, found.kind)
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        except (TumorgenError, FileNotFoundError) as error:  # the study has been changed meanwhile
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def do_POST(self) -> None:
        """Take an answer; it is on disk before this one is told so."""
        name = self._name()
        length = self.headers.get("Content-Length", "")
        if name not in self.server.answers or not self._is_own():
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        elif not length.isdecimal() or int(length) > _LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "not an answer")
        else:
            try:
                answer = parse_answer(self.rfile.read(int(length)), self.server.cases, datetime.now(UTC))
                with self.server.writing:
                    append_answer(self.server.answers[name], answer)
            except TumorgenError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._say({})

    def _name(self) -> str:
        """What the request asks for, without the token; what is never served where it may not ask."""
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
            return _NOWHERE
        token, slash, name = self.path.removeprefix("/").partition("?")[0].partition("/")
        mine = secrets.compare_digest(token.encode(), self.server.token.encode())
        return name if mine and slash else _NOWHERE

    def _is_own(self) -> bool:
        """Whether a request that writes comes from the page itself: no other page can send JSON without asking."""
        origin = self.headers.get("Origin")
        is_json = self.headers.get("Content-Type", "").partition(";")[0].strip() == JSON_TYPE
        return is_json and origin in (None, f"http://{self.headers.get('Host')}")

    def _say(self, told: Any) -> None:
        self._send(json.dumps(told).encode(), JSON_TYPE)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._send(json.dumps({"error": why}).encode(), JSON_TYPE, status)

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for header, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse what is no request that a browser sends, as everything else is refused."""
        self._refuse(HTTPStatus(code), "there is nothing here")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no record of who asks for what."""
