"""A real browser on the real server on a fake engine that writes as fast as a test lets it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time

import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from server_fakes import Served, WordEngine

from avengers_edge.records import Completion, Generation
from avengers_edge.server.chat_page import page_routes

LONG = 60  # seconds a test waits for what must come
DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class PacedEngine(WordEngine):
    """Says its texts in turn, word by word; while it is `slow`, each word waits for a `step`."""

    def __init__(self, texts):
        super().__init__(texts)
        self.slow, self._steps = False, queue.Queue()
        self.rests = threading.Event()
        self.rests.set()
        self._busy, self._counting = 0, threading.Lock()

    def step(self, words=1):
        """Let so many words be said."""
        for _ in range(words):
            self._steps.put(None)

    def run(self):
        """Let it go on by itself."""
        self.slow, self._steps = False, queue.Queue()

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
        self._count(1)
        try:
            return self._generate(request, on_finish, on_token, cancel)
        finally:
            self._count(-1)

    def _count(self, more):
        with self._counting:
            self._busy += more
            (self.rests.clear if self._busy else self.rests.set)()

    def _generate(self, request, on_finish, on_token, cancel):
        self.requests.append(request)
        self.called_off.clear()
        if self.error:
            raise self.error
        done, needed = [], request.least or request.n
        while needed:
            index = len(done)
            text = self.texts[index % len(self.texts)]
            words = text.split(" ")
            for place, word in enumerate(words):
                if not self._may_go_on(cancel):
                    self.called_off.set()
                    return Generation((*done, Completion(index, 0, word, 1, "cancelled")), 5, 1.0, 2.0)
                if on_token:
                    on_token(index, word if place == 0 else f" {word}")
            reason = "length" if "CUT" in text else "stop"
            done.append(Completion(index, index, text, len(words), reason))
            needed = on_finish(done[-1]) if on_finish else request.n - len(done)
        return Generation(tuple(done), 5, 412.0, 2316.0)

    def _may_go_on(self, cancel):
        while self.slow and not (cancel and cancel.is_set()):
            with contextlib.suppress(queue.Empty):
                self._steps.get(timeout=0.01)
                return True
        return not (cancel and cancel.is_set())


class Listening:
    """The fake server with the page, on a port of this machine; it can be stopped and started again on the same one.

    If it is not `ready` from the beginning, its models are loading until `ready` is set.
    """

    def __init__(self, *texts, ready=True, **options):
        self.texts, self.options, self.port = texts, options, 0
        self.ready = threading.Event()
        if ready:
            self.ready.set()
        self.start()

    def start(self):
        self.served = Served(*self.texts, routes=page_routes(), **self.options)
        self.engine = self.served.engine = PacedEngine(self.served.engine.texts)
        self.served.registry.default.warm = self.ready.wait
        config = uvicorn.Config(self.served.app.asgi, port=self.port, log_config=None, ws="none", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"

    def cut(self):
        """Break every connection, as a network does."""

        def abort():
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        self._server.servers[0].get_loop().call_soon_threadsafe(abort)

    def stop(self):
        self.engine.run()
        self.ready.set()
        self._server.should_exit = True
        self._thread.join(LONG)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def chromium(folder, *, width=1280, height=900, dark=False, reduced=False):
    """Start a browser that reaches nothing but this machine, with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    words = ["headless", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    words += ["disable-component-update", "disable-sync", "disable-dev-shm-usage", f"user-data-dir={folder}"]
    words += [f"window-size={width},{height}", "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("no-sandbox")
    if dark:
        words.append("force-dark-mode")
    if reduced:
        words.append("force-prefers-reduced-motion")
    for word in words:
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver's path is given, so that selenium never looks for one to download.
    browser = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    try:
        yield browser
    finally:
        browser.quit()
