"""A stand-in of the Hugging Face Hub on loopback: repositories are made, files come in by commit and LFS and go out.

It answers what huggingface_hub's own client asks for when it uploads a folder and loads a model, checks what the Hub
checks (the sha256 of every LFS object, the YAML of a card by a parser), and can refuse: a wrong token, a card.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

import yaml

COMMIT = "c" * 40


@dataclass
class HubStandIn:
    """What came in: repository -> path -> bytes, and every request as "METHOD path"."""

    token: str = "hf_stand_in"
    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuse_cards: bool = False


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        body, path = self._body(), unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        writes = self.command == "POST" and "validate" not in path
        if writes and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if found := re.fullmatch(r"/api/models/(.+?)/preupload/[^/]+", path):
            return self._preupload(found[1], json.loads(body))
        if found := re.fullmatch(r"/(.+?)\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body))
        if found := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            return self._object(found[1], body)
        if found := re.fullmatch(r"/api/models/(.+?)/commit/[^/]+", path):
            return self._commit(found[1], body.decode())
        if found := re.fullmatch(r"/(.+?/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(found[1], found[2])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.*)?", path):
            return self._information(found[1])
        return self._answer(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound"})

    do_GET = do_POST = do_PUT = do_HEAD = _handle

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        known = name in self.hub.files
        self.hub.files.setdefault(name, {})
        self.hub.private[name] = bool(asked.get("private") or asked.get("visibility") == "private")
        self._answer(409 if known else 200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def _validate(self, text: str) -> None:
        found = re.match(r"\A---\s*\n(.*?)\n---", text, flags=re.S)
        try:
            card = yaml.safe_load(found[1]) if found else {}
        except yaml.YAMLError as error:
            return self._answer(400, {"errors": [{"message": str(error)}], "warnings": []})
        wrong = not isinstance(card, dict) or self.hub.refuse_cards
        errors = [{"message": "metadata are not valid"}] if wrong else []
        return self._answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def _preupload(self, name: str, asked: dict[str, Any]) -> None:
        if name not in self.hub.files:
            return self._answer(404, {"error": "no such repository"}, {"X-Error-Code": "RepoNotFound"})
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        return self._answer(200, {"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**each, "authenticated": True, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def _object(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._answer(400, {"error": "the object's sha256 is another one"})
        self.hub.objects[oid] = body
        return self._answer(200, {})

    def _commit(self, name: str, lines: str) -> None:
        for line in filter(None, lines.splitlines()):
            said = json.loads(line)
            if said["key"] == "file":
                content = said["value"]["content"]
                data = base64.b64decode(content) if said["value"].get("encoding") == "base64" else content.encode()
                self.hub.files[name][said["value"]["path"]] = data
            elif said["key"] == "lfsFile":
                self.hub.files[name][said["value"]["path"]] = self.hub.objects[said["value"]["oid"]]
        address = f"{self.hub.url}/{name}/commit/{COMMIT}"
        self._answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": address, "hookOutput": ""})

    def _information(self, name: str) -> None:
        if name not in self.hub.files:
            return self._answer(404, {"error": "no such repository"}, {"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": path} for path in self.hub.files[name]]
        return self._answer(200, {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    def _file(self, name: str, path: str) -> None:
        data = self.hub.files.get(name, {}).get(path)
        if data is None:
            return self._answer(
                404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            )
        etag = hashlib.sha256(data).hexdigest()
        return self._answer(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"})


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """One that runs while the block does; give its `url` as HF_ENDPOINT and its `token` as HF_TOKEN."""
    hub = HubStandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
