"""A stand-in for the Hugging Face Hub on this machine, as far as its own client and tlzoo ask it.

Repositories are lists of commits, each with the content of its files; large files go through Git LFS, and
have another address, as on the Hub. Paths, headers and bodies are those that huggingface_hub 2.4 sends and
reads; Xet, its other way for large files, is not here (``HF_HUB_DISABLE_XET``).
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"  # noqa: S105 (of nobody)
MODEL = r"(?P<repository>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


@dataclass
class Repository:
    """Its commits, newest last, each with the content of its files by path; what branches and tags mean."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def commit(self, files, *, parent="main"):
        """Add a commit to the branch main, and return its name."""
        before = self.commits.get(self.names.get(parent, ""), {})
        after = {**before, **files}
        told = sorted((path, sha1(content)) for path, content in after.items())
        commit = sha1(json.dumps([told, len(self.commits)]).encode())
        self.commits[commit] = after
        self.names["main"] = commit
        return commit

    def find(self, revision):
        """Return a commit by its name, branch or tag; None if there is none."""
        commit = self.names.get(revision, revision)
        return commit if commit in self.commits else None


class Hub(http.server.ThreadingHTTPServer):
    """The server, and what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {}
        self.large = {}  # content of large files by SHA-256
        self.asked = []  # method and path of each question
        self.tokens = {}  # what was sent to say who asks, by path
        self.moved = {}  # path: where it is now
        self.instead = {}  # path: another answer
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store_url = f"http://localhost:{self.server_port}"  # of large files: another host, as on the Hub

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def put(self, name, files, *, private=False):
        """Add a commit to a repository, as somebody else may have done, and return its name."""
        return self.repositories.setdefault(name, Repository(private)).commit(files)


def sha1(content):
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def is_large(path):
    return path.endswith(".safetensors")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ROUTES = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("GET", rf"/api/models/{MODEL}(/revision/{REVISION})?", "info"),
        ("GET", rf"/api/models/{MODEL}/tree/{REVISION}", "tree"),
        ("POST", rf"/api/models/{MODEL}/preupload/{REVISION}", "preupload"),
        ("POST", rf"/api/models/{MODEL}/commit/{REVISION}", "commit"),
        ("POST", rf"/{MODEL}\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/large/(?P<oid>[0-9a-f]{64})", "store"),
        ("POST", r"/large/(?P<oid>[0-9a-f]{64})/verify", "verify"),
        ("GET", r"/large/(?P<oid>[0-9a-f]{64})", "large"),
        ("GET", rf"/{MODEL}/resolve/{REVISION}/(?P<path>.+)", "resolve"),
    )

    def log_message(self, *_):
        pass

    def answer(self):
        method = "GET" if self.command == "HEAD" else self.command
        path = urlsplit(self.path).path
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, path))
        self.server.tokens[path] = self.headers.get("Authorization")
        if path in self.server.moved:
            return self.reply(302, headers={"Location": self.server.moved[path]})
        if path in self.server.instead:
            return self.reply(200, self.server.instead[path])
        for wanted, pattern, name in self.ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, path)):
                parts = {key: unquote(part or "") for key, part in match.groupdict().items()}
                return getattr(self, name)(**parts)
        return self.refuse(404, "NotFound")

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def reply(self, status, content=b"", headers=None):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code):
        self.reply(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    @property
    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def readable(self, repository):
        """Return a repository that the asker may read; else refuse, as the Hub does, without saying why."""
        found = self.server.repositories.get(repository)
        if found and (self.known or not found.private):
            return found
        self.refuse(404 if self.known else 401, "RepoNotFound")
        return None

    def create(self):
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self.known:
            return self.refuse(401, "Unauthorized")
        if name in self.server.repositories:
            return self.refuse(409, "Conflict")
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        made = self.server.repositories[name] = Repository(private)
        made.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return self.reply(200, {"url": f"{self.server.url}/{name}"})

    def validate(self):
        """Check what stands above a page, by the specification of model cards."""
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        problems = [] if match else ["no metadata"]
        facts = yaml.safe_load(match[1]) if match else {}
        for result in (result for model in facts.get("model-index", ()) for result in model["results"]):
            whole = result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"]
            if not whole or not all(one["type"] and "value" in one for one in result["metrics"]):
                problems.append(f"a result lacks something: {result}")
        if facts.get("license") == "other" and not facts.get("license_name"):
            problems.append("license_name is missing")
        told = [{"message": problem} for problem in problems]
        self.reply(400 if told else 200, {"errors": told, "warnings": []})

    def info(self, repository, revision):
        if (found := self.readable(repository)) is None:
            return None
        commit = found.find(revision or "main")
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        siblings = [{"rfilename": path} for path in found.commits[commit]]
        facts = {"_id": "1", "id": repository, "modelId": repository, "private": found.private, "sha": commit}
        return self.reply(200, {**facts, "siblings": siblings, "tags": [], "downloads": 0})

    def tree(self, repository, revision):
        if (found := self.readable(repository)) is None:
            return None
        commit = found.find(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        files = []
        for path, content in found.commits[commit].items():
            one = {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": sha1(content),
            }
            if is_large(path):
                oid = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
            files.append(one)
        return self.reply(200, files)

    def preupload(self, repository, revision):  # noqa: ARG002
        if (found := self.readable(repository)) is None or not self.known:
            return None if found is None else self.refuse(401, "Unauthorized")
        paths = [one["path"] for one in json.loads(self.body)["files"]]
        modes = [
            {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False}
            for path in paths
        ]
        return self.reply(200, {"files": modes})

    def batch(self, repository):  # noqa: ARG002
        asked = json.loads(self.body)
        objects = []
        for one in asked["objects"]:
            href = f"{self.server.store_url}/large/{one['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append({**one, **({} if one["oid"] in self.server.large else {"actions": actions})})
        self.reply(200, {"transfer": "basic", "objects": objects})

    def store(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.refuse(400, "BadRequest")
        self.server.large[oid] = self.body
        return self.reply(200)

    def verify(self, oid):
        stored = self.server.large.get(oid)
        good = stored is not None and len(stored) == json.loads(self.body)["size"]
        return self.reply(200, {}) if good else self.refuse(400, "BadRequest")

    def commit(self, repository, revision):
        if (found := self.readable(repository)) is None or not self.known:
            return None if found is None else self.refuse(401, "Unauthorized")
        files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        commit = found.commit(files, parent=revision)
        url = f"{self.server.url}/{repository}/commit/{commit}"
        return self.reply(200, {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def resolve(self, repository, revision, path):
        if (found := self.readable(repository)) is None:
            return None
        commit = found.find(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        content = found.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return self.reply(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        if not is_large(path):
            return self.part(content, {**headers, "ETag": f'"{sha1(content)}"'})
        oid = hashlib.sha256(content).hexdigest()
        self.server.large[oid] = content
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{oid}"'}
        return self.reply(302, b"", {**headers, **linked, "Location": f"{self.server.store_url}/large/{oid}"})

    def large(self, oid):
        content = self.server.large.get(oid)
        return self.refuse(404, "NotFound") if content is None else self.part(content, {"ETag": f'"{oid}"'})

    def part(self, content, headers):
        """Answer with a content, or the range of it that is asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            return self.reply(200, content, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        told = {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return self.reply(206, content[first : last + 1], told)
