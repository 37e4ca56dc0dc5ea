"""JupyterLab in a browser, driven by Chrome's own protocol; whoever it asks is noted."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import websocket

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

PATIENCE_S = 90
"""For what takes a second on a machine that does nothing else."""

_TESTS = Path(__file__).parent
_CALM = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage", "--no-pings",
    "--disable-features=OptimizationHints,MediaRouter", "--window-size=1300,1050",
)  # fmt: skip
"""A browser that does what the page asks for, and nothing of its own."""


_MAKER = (".google.com", ".googleapis.com", ".gvt1.com")
"""Chromium asks its maker for the time and for updates, whatever page it shows; what a page asks
there is in `Lab.hosts`."""


class _Recorder(http.server.BaseHTTPRequestHandler):
    """A way out that leads nowhere."""

    def _note(self) -> None:
        host = str(urlsplit(self.path if "//" in self.path else f"//{self.path}").hostname)
        if not host.endswith(_MAKER):
            self.server.asked.append(host)
        self.send_error(502)

    do_CONNECT = do_GET = do_POST = do_HEAD = _note  # noqa: N815  names of http.server

    def log_message(self, *_: object) -> None:
        pass


class Lab:
    """A notebook, opened in JupyterLab, in a browser."""

    def __init__(self, folder: Path, cells: list[str]) -> None:
        self.folder = folder
        self._exits = contextlib.ExitStack()
        self._token = secrets.token_hex(16)
        self.asked: list[str] = []
        """Other machines that the browser or the server asked for anything."""
        self.said: list[dict] = []
        """Events of the browser."""
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(book, folder / "a.ipynb")
        try:
            self._proxy = self._record()
            self._server = self._serve()
            self._browse()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._exits.close()

    # ---------------------------------------------------------------------------------- machinery

    def _record(self) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
        server.asked = self.asked
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self._exits.callback(thread.join)
        self._exits.callback(server.server_close)
        self._exits.callback(server.shutdown)
        return f"127.0.0.1:{server.server_port}"

    def _start(self, name: str, *command: str, **env: str) -> None:
        log = self._exits.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **env}, stdout=log, stderr=log, cwd=self.folder
        )

        def stop() -> None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self._exits.callback(stop)

    def _serve(self) -> str:
        """Start JupyterLab with nothing of the user's; returns its address."""
        home = self.folder / "jupyter"
        quiet = home / "lab/user-settings/@jupyterlab/apputils-extension"
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )
        self._start(
            "lab", sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            "--ip=127.0.0.1", "--ServerApp.port=0", f"--IdentityProvider.token={self._token}",
            "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
            f"--ServerApp.root_dir={self.folder}",
            JUPYTER_CONFIG_DIR=str(home), JUPYTER_DATA_DIR=str(home / "data"),
            JUPYTER_RUNTIME_DIR=str(home / "runtime"), IPYTHONDIR=str(home / "ipython"),
            PYTHONPATH=os.pathsep.join([str(_TESTS.parent), str(_TESTS)]),
            http_proxy=f"http://{self._proxy}", https_proxy=f"http://{self._proxy}",
            no_proxy="127.0.0.1,localhost",
        )  # fmt: skip

        def address() -> str | None:
            found = list((home / "runtime").glob("jpserver-*.json"))
            return json.loads(found[0].read_text())["url"] if found else None

        return waited(address, "JupyterLab does not start").rstrip("/")

    def _browse(self) -> None:
        profile = self.folder / "profile"
        self._start(
            "browser", CHROMIUM, *_CALM, f"--proxy-server={self._proxy}",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        )  # fmt: skip

        def page() -> str | None:
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            return pages[0]["webSocketDebuggerUrl"] if pages else None

        where = waited(page, "the browser does not start")
        self._socket = websocket.create_connection(where, suppress_origin=True, timeout=PATIENCE_S)
        self._exits.callback(self._socket.close)
        self._count = 0
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: object) -> dict:
        """Ask the browser for something."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                return message["result"]
            self.said.append(message)

    def hosts(self) -> set[str]:
        """Return whom the page asked for anything."""
        urls = [
            e["params"]["request"]["url"]
            for e in self.said
            if e["method"] == "Network.requestWillBeSent"
        ]
        asked = {urlsplit(u).hostname for u in urls if not u.startswith(("data:", "blob:"))}
        return {str(host) for host in asked}

    def raised(self) -> list[str]:
        """Return what went wrong in the page."""
        return [
            str(e["params"]["exceptionDetails"])
            for e in self.said
            if e["method"] == "Runtime.exceptionThrown"
        ]

    # --------------------------------------------------------------------------------- a notebook

    def open(self) -> None:
        """Open the notebook, or open it again."""
        address = f"{self._server}/lab/tree/a.ipynb?token={self._token}"
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        self.until(
            """(() => {
                if (!window.jupyterapp || !jupyterapp.shell) return false;
                const book = [...jupyterapp.shell.widgets('main')][0];
                if (!book || !book.sessionContext || !book.sessionContext.isReady) return false;
                if (!book.content.model.cells.length) return false;
                jupyterapp.shell.activateById(book.id);
                return jupyterapp.shell.currentWidget === book;
            })()"""
        )

    def command(self, name: str) -> None:
        """Do what a menu does, to its end."""
        self.js(f"jupyterapp.commands.execute('{name}').then(() => null)")

    def js(self, text: str) -> object:
        """Return what the page says."""
        done = self.call("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, text: str) -> object:
        """Wait for the page to say something that is true."""
        return waited(lambda: self.js(text), text, self)

    def kernel(self, expression: str) -> object:
        """Return the value of an expression in the notebook, as JSON."""
        code = json.dumps(f"import json; print(json.dumps({expression}))")
        said = self.js(
            f"""(async () => {{
                const book = [...jupyterapp.shell.widgets('main')][0];
                const kernel = book.sessionContext.session.kernel;
                const asked = kernel.requestExecute({{code: {code}, store_history: false}});
                let said = '';
                asked.onIOPub = m => {{
                    said += m.content.text || (m.content.traceback || []).join(' ');
                }};
                await asked.done;
                return said.replaceAll('undefined', '');
            }})()"""
        )
        try:
            return json.loads(said)
        except ValueError:
            raise AssertionError(said) from None

    def kernel_until(self, expression: str) -> object:
        """Wait for an expression in the notebook to be true."""
        return waited(lambda: self.kernel(expression), expression, self)

    def shot(self, name: str) -> Path:
        """Keep what is seen."""
        path = self.folder / f"{name}.png"
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path

    # ---------------------------------------------------------------------------- mouse, keyboard

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float, modifiers: int = 0) -> None:
        held = {"button": "left", "clickCount": 1, "modifiers": modifiers}
        self.mouse("mouseMoved", x, y, modifiers=modifiers)
        self.mouse("mousePressed", x, y, buttons=1, **held)
        self.mouse("mouseReleased", x, y, **held)

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "Escape": 27}
        code = codes.get(key) or ord(key.upper())
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            shown = text if kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **shown
            )


def waited(ask, what, lab=None):
    """Return the first answer that is true."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = ask()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            shot = "" if lab is None else f"; see {lab.shot('timeout')}"
            raise AssertionError(f"in vain: {what}{shot}")
        time.sleep(0.1)
