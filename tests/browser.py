"""Chromium without a window, driven through a pipe in its DevTools protocol: keys, clicks, requests, pictures."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 120.0  # for what hangs: a busy machine is slow
QUIET = [
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL without a graphics card
]
_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40}


class Browser:
    """A browser with one page, of a profile in a folder; what it asks of the network is in `requests`."""

    def __init__(self, profile: Path, size: tuple[int, int] = (1366, 768)) -> None:
        assert BROWSER is not None
        (read, to_child), (from_child, write) = os.pipe(), os.pipe()
        pair = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (read, write)]  # clear of 3 and 4
        window = [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        starter = [sys.executable, "-c", _PIPES, *map(str, pair), BROWSER, *QUIET, *window]
        self.process = subprocess.Popen(starter, pass_fds=pair, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for end in (read, write, *pair):
            os.close(end)
        self._to, self._from = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb")
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._downloads: SimpleQueue[str] = SimpleQueue()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._number, self._session = 0, ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        (target, *_) = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close it as somebody does who closes the window."""
        if self.process.poll() is None:
            self._session = ""
            self.call("Browser.close")
            self.process.wait(PATIENCE_S)
        self._listener.join(PATIENCE_S)
        self._to.close()
        self._from.close()

    def _listen(self) -> None:
        pending = b""
        while chunk := self._from.read1(1 << 16):
            *whole, pending = (pending + chunk).split(b"\0")
            for text in whole:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        if "id" in message:
            self._answers.put(message)
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif message.get("method") == "Browser.downloadProgress" and told["state"] == "completed":
            self._downloads.put(told["guid"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            try:
                answer = self._answers.get(timeout=PATIENCE_S)
            except Empty:
                raise AssertionError(f"no answer to {method}") from None
            if answer["id"] == self._number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression comes to in the page; of a promise, what it is kept with."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript condition holds, looking at each frame that the page draws."""
        script = f"""new Promise((kept, broken) => {{ const begun = Date.now(); const look = () => {{
          let held = false; try {{ held = {condition}; }} catch {{ held = false; }}
          if (held) kept(true); else if (Date.now() - begun > {PATIENCE_S * 900}) broken(new Error('waited'));
          else setTimeout(look, 20); }}; look(); }})"""
        self._retried(lambda: self.ask(script), condition)

    def _retried(self, ask: Callable[[], Any], what: str) -> None:
        """Ask again where the page has gone to another meanwhile, which forgets what was asked."""
        for _ in range(5):
            try:
                ask()
            except AssertionError as error:
                if "navigated" not in str(error) and "context" not in str(error).lower():
                    raise AssertionError(f"never came true: {what}; {self.errors}") from error
            else:
                return
        raise AssertionError(f"the page keeps changing: {what}")

    def press(self, key: str) -> None:
        """Press a key, as a keyboard does."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        code = _KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, x: float, y: float, times: int = 1) -> None:
        """Click at a point of the window, or double-click."""
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def wheel(self, x: float, y: float, by: float) -> None:
        """Turn the mouse's wheel over a point."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def click_on(self, selector: str) -> None:
        """Click in the middle of an element."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        self.click(*self.ask(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box})"))

    def download_by(self, selector: str, folder: Path) -> Path:
        """Click on an element, and return the file in a folder that is downloaded."""
        page, self._session = self._session, ""
        self.call("Browser.setDownloadBehavior", behavior="allowAndName", downloadPath=str(folder), eventsEnabled=True)
        self._session = page
        self.click_on(selector)
        return folder / self._downloads.get(timeout=PATIENCE_S)

    def picture(self) -> bytes:
        """What the window shows, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])
