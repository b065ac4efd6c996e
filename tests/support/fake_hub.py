"""A server on loopback that speaks as much of the Hugging Face hub's API as its real client asks for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Repositories by name, each files by path; `fault` answers everything, `lie` changes what is said of hashes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.licence: str | None = "apache-2.0"
        self.fault: int | None = None
        self.lie: str | None = None
        self.cut: int | None = None
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path.strip("/")
        self.server.asked.append(f"{self.command} /{path} {self.headers.get('Range', '')}".strip())
        if self.server.fault is not None:
            self._send(self.server.fault, b'{"error": "no"}', body=body)
            return
        if path.startswith("api/models/"):
            self._info(path.removeprefix("api/models/"), body=body)
            return
        parts = path.split("/")
        files = self.server.repositories.get("/".join(parts[:2]))
        name = "/".join(parts[4:])
        if files is None or len(parts) < 5 or parts[2] != "resolve" or name not in files:
            code = "RepoNotFound" if files is None else "EntryNotFound"
            self._send(404, b"{}", {"X-Error-Code": code}, body=body)
            return
        self._file(files[name], body=body)

    def _info(self, path: str, *, body: bool) -> None:
        repository = "/".join(path.split("/")[:2])
        if repository not in self.server.repositories:
            self._send(404, b'{"error": "not found"}', {"X-Error-Code": "RepoNotFound"}, body=body)
            return
        siblings = []
        for name, data in self.server.repositories[repository].items():
            sha256 = self.server.lie or hashlib.sha256(data).hexdigest()
            each = {"rfilename": name, "size": len(data), "blobId": "b"}
            siblings.append(each | {"lfs": {"size": len(data), "sha256": sha256, "pointerSize": 135}})
        card = {"cardData": {"license": self.server.licence}} if self.server.licence else {}
        info = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], **card}
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body=body)

    def _file(self, data: bytes, *, body: bool) -> None:
        sha256 = self.server.lie or hashlib.sha256(data).hexdigest()
        headers = {"ETag": f'"{sha256}"', "X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
        headers |= {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0] or 0)
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        piece = data[begin:]
        if body and self.server.cut is not None:
            cut, self.server.cut = self.server.cut, None
            self.send_response(206 if begin else 200)
            for name, value in {**headers, "Content-Length": str(len(piece))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(piece[:cut])
            self.close_connection = True
            return
        self._send(206 if begin else 200, piece, headers, body=body)

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextlib.contextmanager
def serving_hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
