"""The server: nothing but the study, to nobody but its page; each answer in the reader's table."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from reader_studies import write_sets

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.turing.answers import answers_file, read_answers
from tumorgen.turing.exporting import export_study
from tumorgen.turing.making import Wanted, make_study
from tumorgen.turing.server import StudyServer
from tumorgen.turing.study import read_key

GIVEN = {"case": "001", "answer": "real", "confidence": 2, "place_mm": [1.0, -2.0, 3.5], "seconds": 3.25}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("server")
    make_study(Wanted(*write_sets(root, 1, 2), count=3, readers=("anna", "ben")), root / "study", jobs=1)
    return root / "study"


@pytest.fixture(scope="module")
def server(study: Path) -> Iterator[StudyServer]:
    with StudyServer(study) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(server: StudyServer, path: str, body: object = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Ask for a path below the token; post what is given as JSON."""
    connection = HTTPConnection(*server.server_address[:2])
    address = path if path.startswith("/") else f"/{server.token}/{path}"
    sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {} if sent is None else {"Content-Type": "application/json"}
    try:
        connection.request("GET" if sent is None else "POST", address, sent, kind | headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_the_page_and_all_that_it_needs_is_there(server, study):
    for name in ("", "index.html", "study.js", "study.css", "niivue.js", "niivue.LICENSE.txt", "study.json"):
        status, content, headers = ask(server, name)
        assert (status, bool(content)) == (200, True), name
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Python" not in headers["Server"]
    assert ask(server, "cases/001.nii")[1] == (study / "cases" / "001.nii").read_bytes()


def test_nothing_that_is_served_tells_what_a_case_is(server, study):
    key = read_key(study)
    for name in server.served:
        content = ask(server, name)[1]
        assert not any(row.source.encode() in content for row in key.values()), name
    told = json.loads(ask(server, "study.json")[1])
    assert sorted(told) == ["answers", "format", "id", "readers", "starts_mm"]
    assert {len(ask(server, f"cases/{case}.nii")[1]) for case in key} == {(study / "cases" / "001.nii").stat().st_size}


@pytest.mark.parametrize(
    "path",
    [
        *("key/cases.csv", "key/drawn.json", "cases", "cases/", "answers", "answers/anna.csv", "answers/carl", "x"),
        *("../study/key/cases.csv", "cases/../key/cases.csv", "cases/%2e%2e/key/cases.csv", "//etc/passwd", "\\"),
        *(
            "/",
            "/study.json",
            "/wrong-token/",
            "/wrong-token/study.json",
            "/%00/",
            "cases/001.nii%00",
            "cases/scan_0.nii",
        ),
    ],
)
def test_there_is_no_path_to_anything_else(server, path):
    status, content, _ = ask(server, path)
    assert (status, content) == (404, b'{"error": "there is nothing here"}')


def test_no_other_name_of_this_machine_and_no_other_page_gets_in(server, study):
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "[::1"):
        assert ask(server, "study.json", Host=host)[0] == 404
    for host in ("localhost:8123", "127.0.0.1:1"):  # through a tunnel
        assert ask(server, "study.json", Host=host)[0] == 200
    assert ask(server, "answers/anna", GIVEN, Origin="http://evil.example")[0] == 404
    assert ask(server, "answers/anna", GIVEN, **{"Content-Type": "text/plain"})[0] == 404
    assert not answers_file(study, "anna").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"case": "099"}, "no such case"),
        ({"case": ["001"]}, "not an answer"),
        ({"answer": "fake"}, "unknown answer"),
        ({"confidence": "2"}, "no such case or confidence"),
        ({"confidence": 9}, "confidence"),
        ({"place_mm": [1, 2]}, "not an answer"),
        ({"place_mm": [1, 2, "NaN"]}, "finite"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": None}, "not an answer"),
    ],
)
def test_what_is_no_answer_is_refused_and_not_kept(server, study, wrong, said):
    status, content, _ = ask(server, "answers/ben", GIVEN | wrong)
    assert status == 400
    assert said in json.loads(content)["error"]
    assert not answers_file(study, "ben").exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"1", b"[" * 4000])
def test_what_is_no_json_of_an_answer_is_refused(server, body):
    assert ask(server, "answers/ben", body)[0] == 400


def test_what_is_too_long_is_refused_unread(server):
    assert ask(server, "answers/ben", b" " * 5000)[0] == 413


@pytest.mark.parametrize(
    "sent", [b"\r\n\r\n", b"x\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"PUT / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n"]
)
def test_what_no_browser_sends_is_refused_and_the_next_request_answered(server, sent):
    with socket.create_connection(server.server_address[:2]) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"200" not in told
    assert b"Python" not in told
    assert ask(server, "study.json")[0] == 200


def test_an_answer_is_in_the_table_of_its_reader_and_comes_back(study):
    with StudyServer(study) as first:
        thread = threading.Thread(target=first.serve_forever, args=(0.01,))
        thread.start()
        assert ask(first, "answers/anna", GIVEN)[0] == 200
        assert ask(first, "answers/anna", GIVEN | {"answer": "unsure", "confidence": None, "place_mm": None})[0] == 200
        told = json.loads(ask(first, "answers/anna")[1])
        assert json.loads(ask(first, "answers/ben")[1]) == []
        first.shutdown()
        thread.join()
    assert told[0] == GIVEN
    kept = read_answers(answers_file(study, "anna"), {"001"})
    assert [(each.answer, each.confidence, each.x_mm, each.z_mm) for each in kept] == [
        ("real", 2, 1.0, 3.5),
        ("unsure", None, None, None),
    ]
    assert kept[0].answered_at.endswith("Z")


def test_it_is_bound_to_the_loopback_and_the_token_is_another_each_time(server, study):
    assert server.server_address[0] == "127.0.0.1"
    with StudyServer(study) as other:
        assert other.token != server.token
        assert len(other.token) >= 20
    with pytest.raises(TumorgenError, match="choose another --port"):
        StudyServer(study, server.server_address[1])


def test_a_folder_that_holds_no_study_is_refused(tmp_path):
    with pytest.raises(TumorgenError, match=r"holds no study\.json"):
        StudyServer(tmp_path)
    for text in (
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 2}',
        '{"format": 1, "id": 1, "readers": {"a": ["1"]}, "starts_mm": {}}',
    ):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(TumorgenError, match=r"study\.json"):
            StudyServer(tmp_path)


def test_an_export_has_everything_but_the_key(study, tmp_path):
    assert export_study(study, tmp_path / "site") == 3
    found = {
        path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*") if path.is_file()
    }
    page = {"index.html", "study.js", "study.css", "niivue.js", "niivue.LICENSE.txt", "study.json"}
    assert found == page | {f"cases/{n:03}.nii" for n in (1, 2, 3)}
    assert json.loads((tmp_path / "site" / "study.json").read_text())["answers"] == "download"
    with pytest.raises(TumorgenError, match="give a new folder"):
        export_study(study, tmp_path / "site")
    apart = shutil.copytree(study, tmp_path / "a study")
    said = CliRunner().invoke(main, ["turing", "export", str(apart), str(tmp_path / "again")]).stdout
    assert f"\n  tumorgen turing score '{apart}' --answers FOLDER_OF_CSV\n" in said
    with pytest.raises(TumorgenError, match="beside its key"):
        export_study(study, study / "site")


@pytest.mark.parametrize("name", ["make", "serve", "score", "export"])
def test_each_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, ["turing", name, "--help"], prog_name="tumorgen")
    assert result.exit_code == 0
    assert f"Examples:\n    tumorgen turing {name} " in result.output
    options = [each for each in main.commands["turing"].commands[name].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []
