"""The repository as a user gets it: a clone in a folder with an awkward name, and the same over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from homes import ROOT

NAME = "django-celery-expert"
SKILL = Path("skills", NAME)
# What GitHub calls the repository; the homes' git finds the served one under it.
GITHUB = "OWNER/REPO"
AWKWARD = "Älter, größer & with spaces"
GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]


def git(*arguments: str | Path, cwd: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    words = [*GIT, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


@dataclass
class Source:
    """A clone of the working tree, and the bare repository that the server serves."""

    clone: Path
    bare: Path
    url: str

    @property
    def skill(self) -> Path:
        return self.clone / SKILL

    def files(self) -> dict[str, bytes]:
        """The skill's files as they must arrive, by their path in the skill."""
        return {
            path.relative_to(self.skill).as_posix(): path.read_bytes()
            for path in sorted(self.skill.rglob("*"))
            if path.is_file()
        }

    def publish(self, message: str) -> None:
        git("add", "--all", cwd=self.clone)
        git("commit", "--quiet", "--message", message, cwd=self.clone)
        git("push", "--quiet", self.bare, "HEAD:main", cwd=self.clone)

    def release(self, version: str) -> None:
        """Raise the version and change the text, as a release does."""
        project = self.clone / "pyproject.toml"
        text, count = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text(), count=1)
        assert count == 1
        project.write_text(text)
        for page in (self.skill / "SKILL.md", *sorted((self.skill / "references").glob("*.md"))):
            page.write_text(page.read_text() + f"\nNew in {version}.\n")
        sync = [sys.executable, self.clone / "scripts/sync.py", "--root", self.clone]
        subprocess.run(sync, check=True, capture_output=True)
        self.publish(f"Release {version}")


def make_source(folder: Path, url: str) -> Source:
    """Copy what git would commit of the working tree, so that the tests see an edit before it is committed."""
    clone = folder / AWKWARD / NAME
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0"):
        path = ROOT / name
        if name and (path.is_file() or path.is_symlink()):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, clone / name, follow_symlinks=False)
    bare = folder / "served" / f"{NAME}.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", bare, cwd=folder)
    git("init", "--quiet", "--initial-branch=main", clone, cwd=folder)
    source = Source(clone, bare, f"{url}/{folder.name}/served/{NAME}.git")
    source.publish("The working tree")
    return source


class GitHandler(BaseHTTPRequestHandler):
    """Git's smart HTTP, by handing each request to `git http-backend` as a web server does."""

    def __init__(self, root: Path, *arguments: Any) -> None:
        self.root = root
        super().__init__(*arguments)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        command = ["git", "http-backend"]
        answer = subprocess.run(command, input=body, env=environment, capture_output=True, check=False).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer on a free port of this machine; the value is the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
