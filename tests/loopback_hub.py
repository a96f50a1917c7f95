"""A Hub on the loopback interface: enough of its HTTP interface for `huggingface_hub` to download repositories."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


class LoopbackHub:
    """Serves folders as repositories. `revisions[repo_id][revision]` is a folder; its commit hashes its files."""

    def __init__(self):
        self.revisions: dict[str, dict[str, Path]] = {}
        self.requests: list[str] = []
        self.cut_after: int | None = None  # bytes of the next large file that are sent before the connection breaks
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo_id: str, folder: Path, revision: str = "main") -> str:
        """Publish a folder as a revision; returns its commit."""
        self.revisions.setdefault(repo_id, {})[revision] = folder
        return commit_of(folder)

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def commit_of(folder: Path) -> str:
    digest = hashlib.sha1()
    for name, path in files_of(folder).items():
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def log_message(self, *_):
        pass

    def _answer(self, body: bool) -> None:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        self.hub.requests.append(f"{self.command} {self.path}")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4:], parse_qs(address.query))
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        return self._error(404, "EntryNotFound")

    def _folder(self, repo_id: str, revision: str) -> Path | None:
        """The folder of a revision, or None after an error was sent."""
        if repo_id not in self.hub.revisions:
            self._error(404, "RepoNotFound")
            return None
        for name, folder in self.hub.revisions[repo_id].items():
            if revision in (name, commit_of(folder)):
                return folder
        self._error(404, "RevisionNotFound")
        return None

    def _api(self, repo_id: str, rest: list[str], query: dict) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        folder = self._folder(repo_id, revision)
        if folder is None:
            return
        files = files_of(folder)
        if rest and rest[0] == "tree":
            content = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}
                for name, path in files.items()
            ]
        else:
            content = {
                "_id": repo_id,
                "id": repo_id,
                "modelId": repo_id,
                "sha": commit_of(folder),
                "private": False,
                "tags": ["diffusers"],
                "siblings": [{"rfilename": name} for name in files],
            }
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _file(self, repo_id: str, revision: str, name: str, body: bool) -> None:
        folder = self._folder(repo_id, revision)
        if folder is None:
            return
        path = files_of(folder).get(name)
        if path is None:
            return self._error(404, "EntryNotFound")
        content, status = path.read_bytes(), 200
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit_of(folder), "Accept-Ranges": "bytes"}
        if "Range" in self.headers and body:
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        self._send(status, content, headers, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body or self.command == "HEAD":
            return
        cut = self.hub.cut_after
        if cut is not None and len(content) > cut:
            self.hub.cut_after = None
            self.wfile.write(content[:cut])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})


def _etag(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
