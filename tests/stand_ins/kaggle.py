"""A stand-in for Kaggle's downloads, over real HTTP on loopback, that misbehaves on order.

    with Kaggle() as kaggle:
        kaggle.add("zillow/zecon/versions/3", {"train.csv": b"..."})
        kaggle.faults["zillow/zecon/versions/3"] = ["429:1", "drop:5000"]      # one a request for the data set
        kaggle.environment       # what makes kagglehub talk to it
        kaggle.sent              # bytes sent of each archive, by those that were asked for

kagglehub has no setting for its endpoint. With KAGGLE_API_ENVIRONMENT=LOCALHOST it asks http://localhost, and its
`requests` honours `http_proxy`: so the stand-in is that proxy, on any free port. As Kaggle does, it answers with a
redirect to a store (host `store.localhost`) that knows ranges and states its checksum.

Faults of the question: a status ("403"), "429:SECONDS" (Retry-After), "hang". Of the store: "drop:BYTES" (the
connection breaks after so many), "corrupt" (a byte is wrong), "no-archive", "hang-at:BYTES", "503-store", "slow:BYTES"
(a second); "no-hash" and "no-ranges" take something away.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
import time
import zipfile
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

BLOCK = 16_384
DOWNLOAD = "/api/v1/datasets.DatasetApiService/DownloadDataset"


class Kaggle:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.always: dict[str, str] = {}
        self.sent: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.ranges: list[tuple[str, int]] = []
        self.authorization: list[str | None] = []
        self.over = threading.Event()
        self._of_store: dict[str, str] = {}
        stand_in = self

        class Handler(_Handler):
            kaggle = stand_in

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def add(self, handle: str, files: dict[str, bytes], compress: bool = True) -> bytes:
        """A data set of these files; its archive."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        self.archives[handle] = buffer.getvalue()
        return self.archives[handle]

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which kagglehub asks this stand-in, and nobody else."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self._server.server_address[1]}",
            "no_proxy": "",
            "NO_PROXY": "",
        }

    def take_fault(self, handle: str) -> str:
        """The next fault ordered for a data set."""
        if handle in self.always:
            return self.always[handle]
        return self.faults[handle].pop(0) if self.faults[handle] else ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        kaggle = self.kaggle
        if urlsplit(self.path).path != DOWNLOAD:
            return self._say(404, b"no such method")
        handle = f"{asked['ownerSlug']}/{asked['datasetSlug']}/versions/{asked['datasetVersionNumber']}"
        kaggle.asked[handle] += 1
        kaggle.authorization.append(self.headers.get("Authorization"))
        fault = kaggle.take_fault(handle)
        status, _, after = fault.partition(":")
        if status == "hang":
            kaggle.over.wait(60)
            return None
        if status.isdecimal():
            headers = {"Retry-After": after} if after else {}
            body = json.dumps({"code": int(status), "message": f"fault {status}"}).encode()
            return self._say(int(status), body, {"Content-Type": "application/json", **headers})
        if handle not in kaggle.archives:
            body = json.dumps({"code": 404, "message": "Dataset not found"}).encode()
            return self._say(404, body, {"Content-Type": "application/json"})
        kaggle._of_store[handle] = fault
        return self._say(302, b"", {"Location": f"http://store.localhost/{handle}/archive.zip"})

    def do_GET(self) -> None:
        kaggle = self.kaggle
        handle = urlsplit(self.path).path.strip("/").removesuffix("/archive.zip")
        fault = kaggle._of_store.get(handle, "")
        name, _, number = fault.partition(":")
        data = kaggle.archives.get(handle)
        if data is None:
            return self._say(404, b"no such archive")
        if name == "503-store":
            return self._say(503, b"busy")
        if name == "no-archive":
            data = b"this is no archive " * 100
        headers: dict[str, str] = {"Content-Type": "application/zip"}
        if name != "no-hash":
            headers["x-goog-hash"] = "crc32c=AAAAAA==,md5=" + base64.b64encode(hashlib.md5(data).digest()).decode()
        if name != "no-ranges":
            headers["Accept-Ranges"] = "bytes"
        if name == "corrupt":
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        asked = self.headers.get("Range", "")
        if asked and name != "no-ranges":
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            kaggle.ranges.append((handle, start))
        self.send_response(206 if start else 200)
        for key, value in {**headers, "Content-Length": str(len(data) - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        return self._send(handle, data[start:], name, int(number or 0))

    def _send(self, handle: str, data: bytes, fault: str, number: int) -> None:
        """Send, as far as the fault lets it; what went into the connection is counted."""
        limit = number if fault in ("drop", "hang-at") else len(data)
        for at in range(0, min(limit, len(data)), BLOCK):
            block = data[at : min(at + BLOCK, limit)]
            try:
                self.wfile.write(block)
                self.wfile.flush()
            except OSError:
                self.close_connection = True
                return
            self.kaggle.sent[handle] += len(block)
            if fault == "slow":
                time.sleep(len(block) / number)
        if fault == "hang-at" and limit < len(data):
            self.kaggle.over.wait(60)
        if limit < len(data):
            self.close_connection = True

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
