"""A headless browser that tests drive through its debugging pipe."""

import json
import os
import shutil
import subprocess
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program():
    """The browser's program, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """``with Browser(folder) as browser: page = browser.open(path)``."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0

    def __enter__(self):
        theirs, write = os.pipe()
        read, theirs_too = os.pipe()
        flags = (
            f"--headless --no-sandbox --disable-gpu --user-data-dir={self.folder} "
            "--remote-debugging-pipe --window-size=1400,1000 --no-first-run "
            "--disable-background-networking --disable-component-update"
        )
        # The browser reads from descriptor 3 and writes to 4.
        command = f"exec {program()} {flags} about:blank 3<&{theirs} 4>&{theirs_too}"
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(theirs, theirs_too),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(theirs_too)
        self.write, self.read = os.fdopen(write, "wb", buffering=0), os.fdopen(read, "rb")
        self.left = b""
        self.events = []
        return self

    def __exit__(self, *problem):
        try:
            self.send("Browser.close")
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired, AssertionError):
            self.process.kill()
            self.process.wait()
        self.write.close()
        self.read.close()

    def send(self, method, session=None, **params):
        """One command's result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self.write.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self.number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def _message(self):
        while b"\0" not in self.left:
            part = os.read(self.read.fileno(), 1 << 20)
            assert part, "the browser went away"
            self.left += part
        message, self.left = self.left.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, tail=""):
        """A page that has loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.send("Page.navigate", url=f"{path.absolute().as_uri()}{tail}")
        page.until("document.querySelector('[data-opened]') !== null")
        return page


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    def send(self, method, **params):
        return self.browser.send(method, self.session, **params)

    def run(self, script):
        """The value of an expression in the page; promises are waited for."""
        done = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script, seconds=60):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"{script} did not become true"
            time.sleep(0.05)

    def press(self, key, text=None):
        """A key goes down and up."""
        more = {} if text is None else {"text": text}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.textContent")

    def complaints(self):
        """Errors and policy violations that the browser logged, and what it asked the network."""
        found = []
        for event in self.browser.events:
            method = event.get("method")
            if event.get("sessionId") != self.session:
                continue
            if method in ("Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(event["params"])
            if method == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(("file:", "about:", "blob:")):
                    found.append(url)
        return found
