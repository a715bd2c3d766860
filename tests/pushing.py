"""A hub that takes what is pushed, for tests: it speaks the real one's protocol as far as small files need it."""

import base64
import contextlib
import http.server
import json
import re
import threading

TOKEN = "hf_" + "t0" * 17


class Hub(http.server.BaseHTTPRequestHandler):
    """Keeps repositories with their files in memory; `refusals` maps a part of a path to the status it is refused with."""

    def do_HEAD(self):
        """Whether a file, or the hub, is there."""
        name = re.search(r"/resolve/main/(.+)", self.path)
        is_there = name is None or name[1] in self.server.files
        self.answer(200 if is_there else 404, {}, {} if is_there else {"X-Error-Code": "EntryNotFound"})

    def do_GET(self):
        """What a repository is, once it is made."""
        if not self.server.created and "/me/it" in self.path:
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif not self.refused():
            self.answer(200, {"id": "me/it", "private": self.server.private, "siblings": []})

    def do_POST(self):
        """Make a repository, say how a file is to be sent, take a commit."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.refused():
            return
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            asked = json.loads(body)
            self.server.private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.answer(200, {"url": f"{self.server.address}/me/it"})
        elif "/preupload/" in self.path:
            names = [entry["path"] for entry in json.loads(body)["files"]]
            self.answer(
                200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.server.commits += 1
            url = f"{self.server.address}/me/it/commit/1"
            self.answer(200, {"commitUrl": url, "commitOid": "1" * 40, "hookOutput": "", "success": True})
        else:
            self.answer(200, {"errors": [], "warnings": []})  # of a README's metadata

    def refused(self):
        """Refuse what the test says."""
        for part, status in self.server.refusals.items():
            if part in self.path:
                self.answer(status, {"error": "no"})
                return True
        return False

    def answer(self, status, content, headers=()):
        """Answer with JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: stderr belongs to the test."""


@contextlib.contextmanager
def pushed_to(monkeypatch):
    """Run such a hub, with somebody logged in, and give it: `files`, `created`, `commits`, `refusals`, `tokens`, `address`."""
    import huggingface_hub.constants  # which the library imports when it is first needed

    from bertbench.models import hub

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.files, server.created, server.refusals, server.tokens = {}, [], {}, set()
        server.private, server.commits = False, 0
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # as an earlier test may have left it
        # The library has read the address when it was imported.
        monkeypatch.setattr(hub, "api", lambda: huggingface_hub.HfApi(endpoint=server.address))
        yield server
        server.shutdown()
