"""A home directory that nothing was ever done in, and the clients run in it.

The environment is written out and not inherited: no account, no token and no setting of the person who runs the tests
reaches a client. The proxy is a closed port, so a client that calls out fails at once and reaches nobody.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
PACKAGES = TOOLS / "clients" / "node_modules"
# The clients, OpenCode's program for this platform, the locked Node, and git.
FOLDERS = [PACKAGES / ".bin", *PACKAGES.glob("opencode-*/bin"), TOOLS / "opinions" / "bin", "/usr/bin", "/bin"]
PATH = os.pathsep.join(map(str, FOLDERS))
NOWHERE = "http://127.0.0.1:9"
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
# Of the slowest command, on a machine that is busy with other things.
DEADLINE = 120


class CommandFailed(AssertionError):
    """A client ended with an error, or did not end."""


@dataclass
class Home:
    """One scratch home, the folder `project` in it, and every command that was run there."""

    path: Path
    # What stands in the record for an address that differs in each run.
    placeholders: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.project.mkdir(parents=True)
        (self.path / "tmp").mkdir()
        # For npm, which OpenCode calls: all that is asked of it is on this machine.
        (self.path / ".npmrc").write_text("offline=true\nfetch-retries=0\naudit=false\nupdate-notifier=false\n")

    @property
    def project(self) -> Path:
        return self.path / "project"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": str(self.path),
            "TMPDIR": str(self.path / "tmp"),
            "LANG": "C.UTF-8",
            "HTTP_PROXY": NOWHERE,
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            # Without it `opencode debug skill` waits for a list of models that cannot come.
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
        }

    def run(self, *command: str | Path, stdin: str = "", program: list[str | Path] | None = None) -> str:
        """Run a client to its end, note the command, and return what it printed.

        `program` starts instead of the first words, where those would ask a registry for the client.
        """
        words = [str(word) for word in command]
        self.commands.append(self.shown(words))
        if program:
            words[: 2 if words[0] == "npx" else 1] = map(str, program)
        try:
            done = subprocess.run(
                words,
                env=self.environment,
                cwd=self.project,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{self.commands[-1]}: not done in {DEADLINE} s; it printed {error.stdout!r}") from None
        if done.returncode:
            raise CommandFailed(f"{self.commands[-1]}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        # Gemini prints lists on its standard error.
        return TERMINAL_CODES.sub("", done.stdout or done.stderr)

    def shell(self, line: str) -> str:
        """Run a line that people type into a shell, such as `rm -r ~/…`."""
        output = self.run("bash", "-c", line)
        self.commands[-1] = line
        return output

    def ask(self, *command: str, requests: list[dict[str, Any]]) -> Any:
        """Start a server that speaks JSON by the line, and return its answer to the last request."""
        self.commands.append(self.shown(list(command)))
        with subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            deadline = threading.Timer(DEADLINE, server.kill)
            deadline.start()
            try:
                server.stdin.write("".join(json.dumps(request) + "\n" for request in requests))
                server.stdin.flush()
                for answer in map(json.loads, server.stdout):
                    if answer.get("id") == requests[-1]["id"]:
                        return answer["result"]
            finally:
                deadline.cancel()
                server.kill()
        raise CommandFailed(f"{self.commands[-1]}: no answer in {DEADLINE} s")

    def shown(self, words: list[str]) -> str:
        """The command as a person would copy it."""
        for value, name in self.placeholders.items():
            words = [word.replace(value, name) for word in words]
        return shlex.join(words)
