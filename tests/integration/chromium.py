"""A browser without a window, driven over a pipe in the words of the Chrome DevTools Protocol."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Page:
    """One page; a context that ends the browser.

    Attributes:
        complaints: What the browser says of errors, refused loads and uncaught exceptions.
    """

    def __init__(self, address: str, profile: Path, size: tuple[int, int] = (1280, 860)) -> None:
        self.complaints: list[str] = []
        asked, self._to = os.pipe()
        self._from, told = os.pipe()
        command = [str(BINARY), *FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
        # the protocol is spoken on 3 and 4
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{asked} 4>&{told}', "bash", *command, "about:blank"],
            pass_fds=(asked, told),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(asked)
        os.close(told)
        self._reader = os.fdopen(self._from, "rb")
        self._rest, self._number, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "DOM"):
            self.call(f"{domain}.enable")
        self.size(*size)
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self.call("Browser.close")
        self._process.wait(timeout=60)
        os.close(self._to)
        self._reader.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and return its result."""
        self._number += 1
        question = {"id": self._number, "method": method, "params": params}
        if self._session:
            question["sessionId"] = self._session
        os.write(self._to, json.dumps(question).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            match message.get("method"):
                case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                    self.complaints.append(message["params"]["entry"]["text"])
                case "Runtime.exceptionThrown":
                    self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str, seconds: int = 60) -> None:
        """Wait until an expression is true."""
        self.evaluate(f"""new Promise((resolve, reject) => {{
          const end = Date.now() + {1000 * seconds};
          (function look() {{
            if ({condition}) resolve(true);
            else if (Date.now() > end) reject(new Error("in vain: " + document.body.innerText));
            else setTimeout(look, 50);
          }})();
        }})""")

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files as a user does in the dialog of an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])

    def drop(self, files: Sequence[Path], x: int = 300, y: int = 300) -> None:
        """Drag files over the page and drop them."""
        data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press(self, key: str) -> None:
        """Press and release a key, by its name."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Take another size, and light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._reader.read1(2**20)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)
