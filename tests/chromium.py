"""A headless Chromium, driven by the DevTools protocol through pipes: nothing but Python's own library is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One tab.

    Attributes:
        complaints: What the page wrote to the console as an error, and what it threw.
        asked: Addresses of all requests.
    """

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, answers
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while (answer := self._next(until)).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            assert select.select([self._answers], [], [], max(0, until - time.monotonic()))[0], "Chromium is silent"
            part = os.read(self._answers, 1 << 16)
            assert part, "Chromium has ended"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        kind, told = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", {}).get("description")))
        elif kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def open(self, address: str, width: int = 1000, height: int = 800) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> Any:
        """Return what an expression becomes when it is no longer false; true for an element."""
        until = time.monotonic() + seconds
        while not (got := self.value(f"(found => found instanceof Node || found)({expression})")):
            assert time.monotonic() < until, f"{expression} is {got!r}; {self.value('document.body.innerText')[:2000]}"
            time.sleep(0.05)
        return got

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "")

    def picture(self, path: Path, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


def _high(number: int) -> int:
    """Return a pipe's end under a number that is neither 3 nor 4."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(number)
    return moved


@contextmanager
def tab(profile: Path, *flags: str) -> Iterator[Tab]:
    """Open a Chromium with one tab.

    Args:
        profile: A folder for what it keeps.
        flags: More of its flags.
    """
    to_read, to_write = map(_high, os.pipe())
    from_read, from_write = map(_high, os.pipe())
    command = [
        str(found()), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
        f"--user-data-dir={profile}", *flags, "about:blank",
    ]  # fmt: skip
    shell = f'exec "$@" 3<&{to_read} 4>&{from_write}'  # Chromium reads commands from 3 and answers on 4
    process = subprocess.Popen(
        ["/bin/bash", "-c", shell, "bash", *command], pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_read)
    os.close(from_write)
    try:
        yield Tab(to_write, from_read)
    finally:
        os.close(to_write)
        os.close(from_read)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
