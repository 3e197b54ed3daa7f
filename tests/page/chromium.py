"""A headless Chromium that tests drive over its DevTools pipe: JSON with a zero byte behind each
message, and no library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
"""Seconds for one answer; a loaded machine is slow, and a dead browser is noticed at once."""


def find() -> str | None:
    """The browser: $ZSLKIT_CHROMIUM, else one on the PATH."""
    return os.environ.get("ZSLKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page. faults: what the browser wrote to the console as an error, exceptions and refusals
    of the policy among them."""

    def __init__(self, browser: subprocess.Popen[bytes], to: int, back: int) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._browser, self._to, self._back = browser, to, back
        self._rest, self._count, self._session, self._loaded = b"", 0, "", False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol and its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._hear(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file and wait until it is there."""
        # By way of an empty page: from a page to a fragment of itself nothing would be loaded.
        for url in ("about:blank", page.resolve().as_uri() + fragment):
            self._loaded = False
            self.call("Page.navigate", url=url)
            while not self._loaded:
                self._hear(self._next())

    def ask(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def becomes(self, expression: str, wanted: Any) -> bool:
        """Whether the expression has that value now or soon: some events come with the next
        frame."""
        end = time.monotonic() + PATIENCE
        while (found := self.ask(expression) == wanted) is False and time.monotonic() < end:
            self.ask("new Promise(done => setTimeout(done, 20))")
        return found

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key of the keyboard, down and up."""
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {})
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def size(self, width: int, height: int, scale: float = 1, mobile: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def prefer(self, **features: str) -> None:
        """Media features by name with _ for -, such as prefers_color_scheme="dark"."""
        media = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=media)

    def picture(self, path: Path, whole: bool = False) -> None:
        """The page as PNG: what the window shows, or all of it."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _hear(self, message: dict[str, Any]) -> None:
        method, said = message.get("method"), message.get("params", {})
        self._loaded = self._loaded or method == "Page.loadEventFired"
        if method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.faults.append(str([argument.get("value") for argument in said["args"]]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.faults.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser did not answer within {PATIENCE:.0f} s")
            got = os.read(self._back, 1 << 16)
            if not got:
                raise RuntimeError(f"the browser has ended with {self._browser.wait()}")
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def tab(program: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser of its own, which is gone afterwards. profile: an empty folder for its
    files."""
    read, to = os.pipe()  # the browser reads commands from 3 and writes answers to 4
    back, write = os.pipe()
    command = [
        *(
            program,
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ),
        *(
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
        ),
        *(
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            f"--user-data-dir={profile}",
            "about:blank",
        ),
    ]

    def wire() -> None:
        # Through high numbers first: one of ours may be 3 or 4 itself.
        high = [os.dup2(read, 203), os.dup2(write, 204)]
        os.dup2(high[0], 3, inheritable=True)
        os.dup2(high[1], 4, inheritable=True)

    browser = subprocess.Popen(
        command,
        preexec_fn=wire,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read)
    os.close(write)
    try:
        yield Tab(browser, to, back)
    finally:
        os.close(to)
        os.close(back)
        with suppress(subprocess.TimeoutExpired):
            browser.wait(5)  # it ends when the pipe does
        with suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)  # the group that we started
        browser.wait()
