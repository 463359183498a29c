"""A git server on loopback, for engines that fetch over HTTP: one bare repository, read only."""

import http.server
import pathlib
import subprocess
import threading
import urllib.parse

SERVICE = "git-upload-pack"


class GitServer:
    def __init__(self, folder):
        self.bare = pathlib.Path(folder, "shares.git")
        self.work = pathlib.Path(folder, "work")
        self.git("init", "--quiet", "--bare", "--initial-branch=main", self.bare)
        self.git("init", "--quiet", "--initial-branch=main", self.work)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/shares.git"

    def git(self, *arguments, **more):
        identity = ["-c", "user.name=test", "-c", "user.email=test@cfshare.invalid"]
        subprocess.run(["git", *identity, *map(str, arguments)], check=True, **more)

    def commit(self, files):
        """Makes a commit in which exactly these files exist: path to text."""
        for path in [path for path in self.work.rglob("*") if path.is_file() and ".git" not in path.parts]:
            path.unlink()
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("-C", self.work, "add", "--all")
        self.git("-C", self.work, "commit", "--quiet", "--allow-empty", "-m", "a change")
        self.git("-C", self.work, "push", "--quiet", self.bare, "main")

    def handler(self):
        bare = self.bare

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, kind, body):
                self.send_response(200)
                self.send_header("Content-Type", f"application/x-{SERVICE}-{kind}")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-cache")
                self.end_headers()
                self.wfile.write(body)

            def pack(self, *arguments, body=None):
                command = ["git", "upload-pack", "--stateless-rpc", *arguments, str(bare)]
                return subprocess.run(command, input=body, stdout=subprocess.PIPE).stdout

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                if url.path != "/shares.git/info/refs" or SERVICE not in url.query:
                    return self.send_error(404)
                line = f"# service={SERVICE}\n"
                head = f"{len(line) + 4:04x}{line}0000".encode()
                self.answer("advertisement", head + self.pack("--advertise-refs"))

            def do_POST(self):
                if self.path != f"/shares.git/{SERVICE}":
                    return self.send_error(404)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer("result", self.pack(body=body))

            def log_message(self, *_):
                pass

        return Handler
