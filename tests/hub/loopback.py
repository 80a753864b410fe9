"""A model hub on loopback, and our command line as a process that knows no other.

The one idea: the real client libraries speak to a server that answers as the hub does, so that what
they ask, and what they raise, is theirs and not our guess. A repository is a folder's worth of
files; publishing makes a commit of it; the server remembers what it was asked and how much it sent.
Whoever has TOKEN may create repositories of OWNER and commit to them, large files by LFS.
Transfer through xet is not spoken, and is switched off in the processes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".parquet", ".safetensors", ".gz")
"""Files that the hub keeps elsewhere and redirects to."""
CHUNK = 1 << 14
WRITING = ("api/whoami-v2", "api/validate-yaml", "api/repos/create", "uploads/")
TOKEN, OWNER = "hf_loopback", "ann"
"""The one who may write, and where."""
SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class Asked:
    method: str
    path: str
    status: int = 0
    sent: int = 0
    """Bytes of the body that the client took (but for a few in the socket)."""


@dataclass
class Repository:
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Branches and tags."""
    refused: tuple[int, str, str] | None = None
    """Status, code and message for its files, as for a gated one."""
    private: bool = False

    @property
    def files(self) -> Mapping[str, bytes]:
        """Returns those of its main branch."""
        return self.commits.get(self.names.get("main", ""), {})


class Hub:
    """The server. Repositories are `models/<name>` and `datasets/<name>`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[Asked] = []
        self.uploads: dict[str, bytes] = {}
        """Large files that were sent, by sha256."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def publish(self, repo: str, files: Mapping[str, bytes] | Path, name: str = "main") -> str:
        """A commit of these files, to which the branch or tag `name` then points; its hash."""
        if isinstance(files, Path):
            found = (p for p in sorted(files.rglob("*")) if p.is_file())
            files = {p.relative_to(files).as_posix(): p.read_bytes() for p in found}
        kept = self.repositories.setdefault(repo, Repository())
        known = f"{repo} {len(kept.commits)} " + " ".join(
            f"{path} {hashlib.sha1(data).hexdigest()}" for path, data in files.items()
        )
        commit = hashlib.sha1(known.encode()).hexdigest()
        kept.commits[commit] = files
        kept.names[name] = commit
        return commit

    def refuse(self, repo: str, status: int, code: str, message: str) -> None:
        self.repositories[repo].refused = (status, code, message)

    def sent(self, path: str) -> int:
        """Bytes of a file that were fetched, by its path in the repository."""
        return sum(a.sent for a in self.asked if a.method == "GET" and a.path.endswith(path))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # Little in the socket, so that `sent` is near what the client read.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self._read()
        self.noted = Asked(self.command, unquote(url.path))
        self.hub.asked.append(self.noted)
        path = url.path.strip("/")
        if path.startswith(WRITING) or re.search(r"/(?:preupload|commit)/|\.git/info/lfs/", path):
            self._write(path, body)
        elif match := re.fullmatch(r"api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?", path):
            self._api(f"{match[1]}/{match[2]}", match[3] or "", parse_qs(body.decode()), url.query)
        elif match := re.fullmatch(r"stored/(.*)", path):
            repo, _, rest = unquote(match[1]).partition("@")
            commit, _, name = rest.partition("/")
            self._bytes(self.hub.repositories[repo].commits[commit][name], {})
        elif match := re.fullmatch(r"(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(f"{match[1] or 'models/'}{match[2]}", unquote(match[3]), unquote(match[4]))
        else:
            self._error(404, "", f"no such page: {path}")

    def _read(self) -> bytes:
        """What the client sends, at once or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _commit(self, repo: str, revision: str) -> str:
        """Answers with an error where there is none."""
        kept = self.hub.repositories.get(repo)
        if kept is None:
            # The hub does not tell a stranger what does not exist from what is private.
            if self.headers.get("Authorization"):
                self._error(404, "RepoNotFound", "Repository not found")
            else:
                self._error(401, "", "Invalid username or password.")
            return ""
        commit = kept.names.get(revision, revision)
        if commit not in kept.commits:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return ""
        return commit

    def _api(self, repo: str, rest: str, form: Mapping[str, list[str]], query: str) -> None:
        what, _, rest = rest.partition("/")
        revision, inside = map(unquote, rest.partition("/")[::2])
        commit = self._commit(repo, revision or "main")
        if not commit:
            return
        files = self.hub.repositories[repo].commits[commit]
        name = repo.partition("/")[2]
        if what in ("", "revision"):
            refused = self.hub.repositories[repo].refused
            if refused and refused[1] != "GatedRepo":
                self._error(*refused)
                return
            siblings = [{"rfilename": path} for path in files]
            gated = "auto" if refused else False
            private = self.hub.repositories[repo].private
            facts = {"id": name, "sha": commit, "private": private, "gated": gated, "tags": []}
            self._json({**facts, "siblings": siblings, "downloads": 0, "likes": 0})
        elif what == "tree":
            recursive = "recursive=true" in query.lower()
            entries = _tree(files, inside, recursive)
            if inside and not entries:
                self._error(404, "EntryNotFound", f"{inside} does not exist")
            else:
                self._json(entries)
        elif what == "paths-info":
            every = {e["path"]: e for e in _tree(files, "", True)}
            self._json([every[path] for path in form.get("paths", []) if path in every])
        else:
            self._error(404, "", f"no such page: {what}")

    def _file(self, repo: str, revision: str, path: str) -> None:
        commit = self._commit(repo, revision)
        if not commit:
            return
        kept = self.hub.repositories[repo]
        if kept.refused:
            self._error(*kept.refused)
            return
        if path not in kept.commits[commit]:
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        data = kept.commits[commit][path]
        head = {"X-Repo-Commit": commit, "ETag": f'"{_blob(data)}"'}
        if not path.endswith(LARGE):
            self._bytes(data, head)
            return
        head["X-Linked-Size"] = str(len(data))
        head["X-Linked-ETag"] = f'"{hashlib.sha256(data).hexdigest()}"'
        # Another host by name, as the hub's store is: headers of the hub are not sent on to it.
        store = self.hub.url.replace("127.0.0.1", "localhost")
        head["Location"] = f"{store}/stored/{repo}@{commit}/{path}"
        self._head(302, 0, head)

    def _write(self, path: str, body: bytes) -> None:
        """What only the owner may ask."""
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not known and not path.startswith("uploads/"):
            self._error(401, "", "Invalid username or password.")
        elif path == "api/whoami-v2":
            self._json({"name": OWNER, "type": "user", "orgs": []})
        elif path == "api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "api/repos/create":
            self._create(json.loads(body))
        elif match := re.fullmatch(r"uploads/(\w+)", path):
            self.hub.uploads[match[1]] = body
            self._json({})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = list(map(self._place, json.loads(body)["objects"]))
            self._json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"api/(.*)/preupload/main", path):
            files = self.hub.repositories[match[1]].files
            plans = [_plan_upload(each, files) for each in json.loads(body)["files"]]
            self._json({"files": plans})
        elif match := re.fullmatch(r"api/(.*)/commit/main", path):
            self._take(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._error(404, "", f"no such page: {path}")

    def _create(self, asked: Mapping[str, Any]) -> None:
        owner = asked.get("organization") or OWNER
        name, kind = f"{owner}/{asked['name']}", asked.get("type", "model")
        repo = f"{kind}s/{name}"
        if owner != OWNER:
            self._error(403, "", f"You do not have the rights to create a {kind} under {owner}")
            return
        if repo in self.hub.repositories:
            self._error(409, "", "You already created this repo", body={"url": name})
            return
        self.hub.publish(repo, {})
        hidden = asked.get("visibility") == "private" or asked.get("private")
        self.hub.repositories[repo].private = bool(hidden)
        self._json({"url": f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"})

    def _place(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Where a large file is to be put; nowhere where it is there."""
        known = dict(wanted)
        if wanted["oid"] not in self.hub.uploads:
            known["actions"] = {"upload": {"href": f"{self.hub.url}/uploads/{wanted['oid']}"}}
        return known

    def _take(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = dict(self.hub.repositories[repo].files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        oid = self.hub.publish(repo, files)
        url = f"{self.hub.url}/{repo}/commit/{oid}"
        self._json({"success": True, "commitOid": oid, "commitUrl": url})

    def _bytes(self, data: bytes, head: Mapping[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        more = {"Accept-Ranges": "bytes", **head}
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            if first > last:
                self._error(416, "", "range", {"Content-Range": f"bytes */{len(data)}"})
                return
            more["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        self._head(206 if wanted else 200, len(data), more)
        if self.command == "HEAD":
            return
        try:
            for i in range(0, len(data), CHUNK):
                self.wfile.write(data[i : i + CHUNK])
                self.noted.sent += len(data[i : i + CHUNK])
        except OSError:  # the client has enough
            self.close_connection = True

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._head(200, len(data), {"Content-Type": "application/json"})
        self.wfile.write(data)

    def _error(
        self,
        status: int,
        code: str,
        message: str,
        head: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        told = {"X-Error-Code": code} if code else {}
        data = json.dumps({"error": message, **(body or {})}).encode()
        more = {**told, **(head or {}), "X-Error-Message": message}
        self._head(status, len(data), {"Content-Type": "application/json", **more})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, length: int, head: Mapping[str, str]) -> None:
        self.noted.status = status
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in head.items():
            self.send_header(name, value)
        self.end_headers()


def _tree(files: Mapping[str, bytes], inside: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below `inside`."""
    entries: dict[str, dict[str, Any]] = {}
    for path, data in files.items():
        if inside and not path.startswith(f"{inside}/"):
            continue
        parts = path.split("/")
        depth = inside.count("/") + 1 if inside else 0
        for end in range(depth + 1, len(parts) if recursive else min(depth + 2, len(parts))):
            folder = "/".join(parts[:end])
            oid = hashlib.sha1(folder.encode()).hexdigest()
            entries[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if recursive or len(parts) == depth + 1:
            entries[path] = {"type": "file", "oid": _blob(data), "size": len(data), "path": path}
            if path.endswith(LARGE):
                oid = hashlib.sha256(data).hexdigest()
                entries[path]["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
    return list(entries.values())


def _plan_upload(asked: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """How a file is to be sent, and what is there under its name."""
    path, large = asked["path"], asked["path"].endswith(LARGE)
    oid = None
    if path in files:
        oid = hashlib.sha256(files[path]).hexdigest() if large else _blob(files[path])
    mode = "lfs" if large else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
