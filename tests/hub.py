"""A Hugging Face Hub on the loopback interface, for the real client to talk to.

It answers as the Hub does for large files: `resolve` redirects to another host (a "CDN", here the
same server as `localhost`) and states commit, size and sha256 in its headers; the CDN knows ranges.
Faults are put in its way with `fail`.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_loopback"


@dataclass
class Repo:
    """Commits by branch, files by commit; a gated one wants TOKEN of a user that is `admitted`."""

    refs: dict[str, str]
    files: dict[str, dict[str, bytes]]
    licence: str = "apache-2.0"
    gated: bool = False
    admitted: bool = True


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" holds `at`."""

    at: str
    act: Callable[["Handler"], bool]
    times: int


@dataclass
class Hub:
    """What is served, the faults, what was asked for, and headers `stated` about every file."""

    url: str = ""
    cdn: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ranges: list[int] = field(default_factory=list)
    stated: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything."""
        for one in (self.repos, self.blobs, self.faults, self.requests, self.ranges, self.stated):
            one.clear()

    def serve(self, repo: str, content: bytes, *, file="model.safetensors", ref="main") -> str:
        """Put a file at a branch of a repository, alone in a new commit, and return that."""
        digest = hashlib.sha256(content).hexdigest()
        commit = hashlib.sha1(f"{repo}/{file}/{digest}".encode()).hexdigest()
        found = self.repos.setdefault(repo, Repo({}, {}))
        found.refs[ref] = commit
        found.files[commit] = {file: content}
        self.blobs[digest] = content
        return commit

    def rewrite(self, repo: str, commit: str, content: bytes) -> None:
        """Serve something else at a commit, as no honest Hub does."""
        (file,) = self.repos[repo].files[commit]
        self.repos[repo].files[commit] = {file: content}
        self.blobs[hashlib.sha256(content).hexdigest()] = content

    def rename(self, repo: str, to: str) -> None:
        """Call the files of a repository otherwise."""
        files = self.repos[repo].files
        for commit, held in files.items():
            files[commit] = dict.fromkeys([to], *held.values())

    def damage(self, repo: str) -> str:
        """Change a byte of the file on `main` on its way, and return its true hash."""
        found = self.repos[repo]
        (content,) = found.files[found.refs["main"]].values()
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content[:-1] + bytes([content[-1] ^ 1])
        return digest

    def fail(self, at: str, act: Callable[["Handler"], bool], times: int = 1) -> None:
        self.faults.append(Fault(at, act, times))

    def count(self, text: str) -> int:
        """How many requests held `text`."""
        return sum(text in request for request in self.requests)


def status(code: int, **headers: str) -> Callable[["Handler"], bool]:
    """Answer with an error."""

    def act(handler: "Handler") -> bool:
        handler.reply(code, headers={key.replace("_", "-"): v for key, v in headers.items()})
        return True

    return act


def cut(size: int) -> Callable[["Handler"], bool]:
    """Announce the whole body, send `size` bytes of it and hang up."""

    def act(handler: "Handler") -> bool:
        handler.limit = size
        return False

    return act


def short(size: int) -> Callable[["Handler"], bool]:
    """Announce and send only the first `size` bytes of the file."""

    def act(handler: "Handler") -> bool:
        handler.shortened = size
        return False

    return act


def stall(seconds: float) -> Callable[["Handler"], bool]:
    """Accept the request and be silent."""

    def act(handler: "Handler") -> bool:
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return act


@contextmanager
def loopback() -> Iterator[Hub]:
    """A running hub without repositories."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    port = server.server_address[1]
    hub.url, hub.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}/cdn"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    limit: int | None
    shortened: int | None

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, *_: object) -> None:
        """Silent."""

    def answer(self) -> None:
        line = f"{self.command} {self.path}"
        self.limit = self.shortened = None
        self.hub.requests.append(line)
        for fault in self.hub.faults:
            if fault.times and fault.at in line:
                fault.times -= 1
                if fault.act(self):
                    return
                break
        if self.path.startswith("/cdn/"):
            self.blob(self.path.removeprefix("/cdn/"))
        elif self.path.startswith("/api/models/"):
            self.card(self.path.removeprefix("/api/models/").partition("?")[0])
        elif "/resolve/" in self.path:
            self.resolve()
        else:
            self.reply(404)

    def resolve(self) -> None:
        owner, name, _, quoted, file = self.path.strip("/").split("/", 4)
        found = self.find(f"{owner}/{name}", unquote(quoted))
        if found is None:
            return
        commit, files = found
        if file not in files:
            self.reply(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        digest = hashlib.sha256(files[file]).hexdigest()
        self.reply(
            302,
            headers={
                "Location": f"{self.hub.cdn}/{digest}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(files[file])),
                "X-Linked-Etag": f'"{digest}"',
                **self.hub.stated,
            },
        )

    def card(self, path: str) -> None:
        name, _, revision = path.partition("/revision/")
        found = self.find(name, unquote(revision) or "main")
        if found is None:
            return
        commit, files = found
        about = {
            "id": name,
            "modelId": name,
            "sha": commit,
            "siblings": [{"rfilename": file} for file in files],
            "cardData": {"license": self.hub.repos[name].licence},
        }
        self.reply(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files, or an answer that says why not."""
        given = self.headers.get("Authorization")
        token = given == f"Bearer {TOKEN}"
        if given is not None and not token:
            message = "Invalid credentials in Authorization header"
            self.reply(401, headers={"X-Error-Message": message})
            return None
        repo = self.hub.repos.get(name)
        if repo is None:
            self.reply(401, headers={"X-Error-Code": "RepoNotFound"})
            return None
        if repo.gated and not (token and repo.admitted):
            self.reply(403 if token else 401, headers={"X-Error-Code": "GatedRepo"})
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.files:
            self.reply(404, headers={"X-Error-Code": "RevisionNotFound"})
            return None
        return commit, repo.files[commit]

    def blob(self, digest: str) -> None:
        """A file, or the rest of it; our own credentials have no business here."""
        assert "Authorization" not in self.headers
        content = self.hub.blobs[digest][: self.shortened]
        headers = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        begin = 0
        if wanted := self.headers.get("Range"):
            self.hub.ranges.append(int(wanted.removeprefix("bytes=").partition("-")[0]))
            begin = self.hub.ranges[-1]
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self.reply(206 if begin else 200, content[begin:], headers)

    def reply(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(ConnectionError):  # of a client that has been stopped
            self.wfile.write(body[: self.limit])
        if self.limit is not None:
            self.close_connection = True
