"""
A Hub on loopback: as much of the Hugging Face Hub's HTTP interface as huggingface_hub uses to push and to load.

Repositories live in memory. A token is `hf_USER`; a user may write under the name USER alone. Weights, Parquet and
sounds go as LFS objects. `break_commits` makes the connection drop where a commit should be made.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LICENSES = {"apache-2.0", "mit", "other", "unknown", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0"}
LFS_SIZE = 10_000_000
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".model", ".ogg", ".wav", ".mp3", ".flac")
TYPES = ("model", "dataset", "space")


@dataclass
class Repo:
    """A repository: each commit is a whole tree, path to content."""

    private: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def commit(self, files: dict[str, bytes]) -> str:
        tree = sorted((path, oid(path, content)) for path, content in files.items())
        sha = hashlib.sha1(f"{len(self.commits)}{tree}".encode()).hexdigest()
        self.commits[sha] = files
        return sha

    def resolve(self, revision: str) -> str | None:
        sha = self.head if revision == "main" else self.tags.get(revision, revision)
        return sha if sha in self.commits else None


class Hub:
    """The server; `url` is its HF_ENDPOINT."""

    def __init__(self):
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.bytes_sent: dict[str, int] = {}
        self.break_commits = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def files(self, repo_id: str, repo_type: str = "model") -> dict[str, bytes]:
        repo = self.repos[repo_type, repo_id]
        return repo.commits[repo.head]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def is_lfs(path: str, size: int) -> bool:
    return size > LFS_SIZE or path.endswith(LFS_SUFFIXES)


def oid(path: str, content: bytes) -> str:
    if is_lfs(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self._read_body()
        self.hub.requests.append(f"{self.command} {path}")
        try:
            for method, pattern, action in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    getattr(self, action)(**match.groupdict())
                    return
            raise _Refusal(404, f"no such endpoint: {self.command} {path}")
        except _Refusal as refusal:
            headers = {"X-Error-Message": str(refusal)}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._send(json.dumps({"error": str(refusal)}).encode(), refusal.status, headers)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, content: bytes, status: int = 200, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(content), "X-Request-Id": "1", **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json"})

    def _user(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token.startswith("hf_"):
            raise _Refusal(401, "Invalid username or password.")
        return token.removeprefix("hf_")

    def _writer(self, repo_id: str) -> None:
        if repo_id.split("/")[0] != self._user():
            raise _Refusal(403, f"You don't have the rights to create or write under {repo_id.split('/')[0]!r}")

    def _repo(self, kind: str, repo_id: str) -> Repo:
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and repo_id.split("/")[0] != self._user()):
            raise _Refusal(401 if repo else 404, "Repository not found", "RepoNotFound")
        return repo

    def _tree(self, kind: str, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repo = self._repo(kind, repo_id)
        sha = repo.resolve(revision)
        if sha is None:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repo.commits[sha]

    # --- Writing

    def whoami(self) -> None:
        self._json({"type": "user", "name": self._user(), "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def create(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or self._user()}/{asked['name']}"
        self._writer(repo_id)
        key = (asked.get("type") or "model", repo_id)
        address = {"url": f"{self.hub.url}/{'' if key[0] == 'model' else key[0] + 's/'}{repo_id}", "id": repo_id}
        if key in self.hub.repos:
            return self._json({"error": "You already created this repo", **address}, 409)
        repo = self.hub.repos[key] = Repo(private=asked.get("visibility") == "private", sdk=asked.get("sdk"))
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self._json(address)

    def validate_yaml(self) -> None:
        content = json.loads(self.body)["content"]
        named = re.findall(r"^license: (\S+)$", content.split("---")[1] if content.startswith("---") else "", re.M)
        errors = [f'"license" must be one of {sorted(LICENSES)}' for name in named if name not in LICENSES]
        self._json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        self._writer(repo_id)
        _, tree = self._tree(kind, repo_id, revision)
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_lfs(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": oid(file["path"], tree[file["path"]]) if file["path"] in tree else None,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def lfs_batch(self, **_) -> None:
        objects = []
        for item in json.loads(self.body)["objects"]:
            if item["oid"] not in self.hub.objects:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
                item["actions"]["verify"] = {"href": f"{self.hub.url}/lfs-verify"}
            objects.append(item)
        self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, digest: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != digest:
            raise _Refusal(400, "checksum")
        self.hub.objects[digest] = self.body
        self.hub.bytes_sent[digest] = self.hub.bytes_sent.get(digest, 0) + len(self.body)
        self._send(b"")

    def lfs_verify(self) -> None:
        known = json.loads(self.body)["oid"] in self.hub.objects
        self._json({}, 200 if known else 404)

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        self._writer(repo_id)
        if self.hub.break_commits:
            self.close_connection = True
            self.connection.close()
            return
        _, tree = self._tree(kind, repo_id, revision)
        tree = dict(tree)
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                tree[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                tree.pop(value["path"])
        sha = self.hub.repos[kind, repo_id].commit(tree)
        self._json({"success": True, "commitUrl": f"{self.hub.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def tag(self, kind: str, repo_id: str, revision: str) -> None:
        self._writer(repo_id)
        sha, _ = self._tree(kind, repo_id, revision)
        name = json.loads(self.body)["tag"]
        tags = self.hub.repos[kind, repo_id].tags
        if name in tags:
            raise _Refusal(409, "Tag reference exists already")
        tags[name] = sha
        self._json({})

    def variables(self, repo_id: str) -> None:
        self._writer(repo_id)
        asked = json.loads(self.body)
        self.hub.repos["space", repo_id].variables[asked["key"]] = asked["value"]
        self._json({asked["key"]: {"key": asked["key"], "value": asked["value"]}})

    # --- Reading

    def info(self, kind: str, repo_id: str, revision: str = "main") -> None:
        repo = self._repo(kind, repo_id)
        sha, tree = self._tree(kind, repo_id, revision)
        siblings = [{"rfilename": path} for path in tree]
        date = "2026-01-01T00:00:00.000Z"
        content = {"_id": "1", "id": repo_id, "modelId": repo_id, "sha": sha, "siblings": siblings, "tags": []}
        self._json(content | {"private": repo.private, "gated": False, "disabled": False, "lastModified": date})

    def refs(self, kind: str, repo_id: str) -> None:
        repo = self._repo(kind, repo_id)
        branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}]
        tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repo.tags.items()]
        self._json({"branches": branches, "converts": [], "tags": tags})

    def tree(self, kind: str, repo_id: str, revision: str, inside: str | None = None) -> None:
        _, tree = self._tree(kind, repo_id, revision)
        prefix = f"{inside.strip('/')}/" if inside else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries, folders = [], set()
        for path, content in tree.items():
            if not path.startswith(prefix):
                continue
            steps = path.removeprefix(prefix).split("/")
            folders |= {prefix + "/".join(steps[:depth]) for depth in range(1, len(steps) if recursive else 2)} - {
                path
            }
            if recursive or len(steps) == 1:
                entries.append(_entry(path, content))
        if inside and not entries and not folders:
            raise _Refusal(404, f"{inside} does not exist", "EntryNotFound")
        entries += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        self._json(entries)

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        _, tree = self._tree(kind, repo_id, revision)
        asked = json.loads(self.body)["paths"] if self.body[:1] == b"{" else parse_qs(self.body.decode())["paths"]
        self._json([_entry(path, tree[path]) for path in asked if path in tree])

    def resolve(self, repo_id: str, revision: str, path: str, prefix: str | None = None) -> None:
        sha, tree = self._tree((prefix or "models/").removesuffix("s/"), repo_id, revision)
        if path not in tree:
            headers = {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._send(b"", 404, headers)
        content = tree[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid(path, content)}"', "Accept-Ranges": "bytes"}
        if is_lfs(path, len(content)):
            headers |= {"X-Linked-Size": len(content), "X-Linked-Etag": f'"{oid(path, content)}"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(content[start : end + 1], 206, headers)
        self._send(content, 200, headers)


def _entry(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": oid(path, content)}
    if is_lfs(path, len(content)):
        entry["lfs"] = {"oid": oid(path, content), "size": len(content), "pointerSize": 130}
    return entry


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<repo_id>[^/]+/[^/]+)"
ROUTES = [
    ({"GET"}, r"/api/whoami-v2", "whoami"),
    ({"POST"}, r"/api/repos/create", "create"),
    ({"POST"}, r"/api/validate-yaml", "validate_yaml"),
    ({"POST"}, _REPO + r"/preupload/(?P<revision>[^/]+)", "preupload"),
    ({"POST"}, r"/(?:datasets/|spaces/)?[^/]+/[^/]+\.git/info/lfs/objects/batch", "lfs_batch"),
    ({"PUT"}, r"/lfs/(?P<digest>\w+)", "lfs_put"),
    ({"POST"}, r"/lfs-verify", "lfs_verify"),
    ({"POST"}, _REPO + r"/commit/(?P<revision>[^/]+)", "commit"),
    ({"POST"}, _REPO + r"/tag/(?P<revision>[^/]+)", "tag"),
    ({"POST"}, r"/api/spaces/(?P<repo_id>[^/]+/[^/]+)/variables", "variables"),
    ({"GET"}, _REPO, "info"),
    ({"GET"}, _REPO + r"/revision/(?P<revision>[^/]+)", "info"),
    ({"GET"}, _REPO + r"/refs", "refs"),
    ({"GET"}, _REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<inside>.+))?", "tree"),
    ({"POST"}, _REPO + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
    (
        {"GET", "HEAD"},
        r"/(?P<prefix>datasets/|spaces/)?(?P<repo_id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        "resolve",
    ),
]
