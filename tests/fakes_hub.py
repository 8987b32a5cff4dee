"""A small Hugging Face Hub on 127.0.0.1: what huggingface_hub asks of the true one to push a model and to pull it."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".onnx", ".safetensors", ".bin", ".pt2", ".pt")


@dataclass
class Repository:
    """Commits, each all of its files, and what names them."""

    private: bool
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        before = self.commits.get(self.refs.get("main", ""), {})
        identity = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[identity] = before | files
        self.refs["main"] = identity
        return identity


class Hub(ThreadingHTTPServer):
    """Holds repositories; ``tokens`` says whose a token is. ``asked`` lists method and path of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.tokens = {"hf_anna": "anna"}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.status: int | None = None  # that everything is answered with


class Answer(BaseHTTPRequestHandler):
    """Answers a request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"error": code}, X_Error_Code=code)

    def _answer(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.server.asked.append(f"{self.command} /{'/'.join(parts)}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = self.server.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if self.server.status is not None:
            self._send(self.server.status, {"error": "out of order"})
        elif parts == ["api", "whoami-v2"]:
            self._send(200, {"name": user, "type": "user"}) if user else self._send(401, {"error": "Invalid token"})
        elif parts == ["api", "validate-yaml"]:
            self._send(200, {"errors": [], "warnings": []})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body), user)
        elif parts[0] == "lfs":
            assert hashlib.sha256(body).hexdigest() == parts[1]
            self.server.large[parts[1]] = body
            self._send(200, {})
        elif parts[1:] and parts[1].endswith(".git"):  # user/name.git/info/lfs/objects/batch
            asked = json.loads(body)["objects"]
            put = [{**one, "actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}} for one in asked]
            self._send(200, {"transfer": "basic", "objects": put})
        else:
            self._repository(parts, body, user)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _create(self, asked: dict[str, Any], user: str | None) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != user:
            self._send(403, {"error": "You may not write there"})
            return
        status = 409 if name in self.server.repositories else 200
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        if status == 200:
            self.server.repositories[name] = Repository(private)
            self.server.repositories[name].commit({".gitattributes": b"*.onnx filter=lfs\n"})
        self._send(status, {"url": f"{self.server.url}/{name}"})

    def _repository(self, parts: list[str], body: bytes, user: str | None) -> None:
        api = parts[:2] == ["api", "models"]
        name, rest = ("/".join(parts[2:4]), parts[4:]) if api else ("/".join(parts[:2]), parts[2:])
        found = self.server.repositories.get(name)
        owns = user == name.partition("/")[0]
        if found is None or (found.private and not owns):
            self._refuse(404 if user else 401, "RepoNotFound")
            return
        revision = rest[1] if len(rest) > 1 else "main"
        commit = found.refs.get(revision, revision if revision in found.commits else "")
        if not commit:
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["preupload"] and owns:
            files = [one["path"] for one in json.loads(body)["files"]]
            said = [
                {"path": path, "uploadMode": "lfs" if path.endswith(LARGE) else "regular", "shouldIgnore": False}
                for path in files
            ]
            self._send(200, {"files": said})
        elif rest[:1] == ["commit"] and owns:
            identity = found.commit(dict(map(self._added, filter(self._is_file, map(json.loads, body.splitlines())))))
            self._send(200, {"commitUrl": f"{self.server.url}/{name}/commit/{identity}", "commitOid": identity})
        elif rest[:1] in ([], ["revision"]) and api:
            listed = [{"rfilename": path} for path in found.commits[commit]]
            self._send(200, {"id": name, "sha": commit, "private": found.private, "siblings": listed, "tags": []})
        elif found.gated and not owns:
            self._refuse(403 if user else 401, "GatedRepo")
        elif rest[:1] == ["tree"]:
            self._send(200, [self._entry(path, data) for path, data in found.commits[commit].items()])
        elif rest[:1] == ["resolve"]:
            data = found.commits[commit].get("/".join(rest[2:]))
            if data is None:
                self._send(404, {"error": "no such file"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            else:
                self._send(200, data, X_Repo_Commit=commit, ETag=f'"{hashlib.sha256(data).hexdigest()}"')
        else:
            self._send(403, {"error": "forbidden"})

    @staticmethod
    def _is_file(line: dict[str, Any]) -> bool:
        return line["key"] in ("file", "lfsFile")

    def _added(self, line: dict[str, Any]) -> tuple[str, bytes]:
        value = line["value"]
        if line["key"] == "lfsFile":
            return value["path"], self.server.large[value["oid"]]
        return value["path"], base64.b64decode(value["content"])

    @staticmethod
    def _entry(path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve one in a thread of the test."""
    with Hub() as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join(10)
