"""Each client's own words for the same story: install, list, update, repair, uninstall.

The commands are those of the README's section "Install"; a test compares the two. Where a client has no command for a
step, the method does what the README tells the reader to do by hand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from homes import PACKAGES, CommandFailed, Home
from sources import GITHUB, NAME, Source

HERE = Path(__file__).resolve().parent
PLUGIN = f"{NAME}@{NAME}"


@dataclass
class Listing:
    """What a client says it would offer to a model. None is what it does not say."""

    description: str
    version: str | None = None
    body: str | None = None


@dataclass
class Client:
    """A client in a home, and what it installs from."""

    home: Home
    source: Source
    origin: str

    title: ClassVar[str]
    package: ClassVar[str]
    # What a person can name: the clone, its address, or GitHub's short form, which not every client takes.
    origins: ClassVar[tuple[str, ...]] = ("folder", "git URL")
    # What a client says that refuses to install what is installed.
    refusal: ClassVar[str | None] = None
    # Files that stay after the removal and are no installed skill, as patterns.
    keeps: ClassVar[tuple[str, ...]] = ()

    @property
    def address(self) -> str:
        return {"folder": str(self.source.clone), "git URL": self.source.url}.get(self.origin, self.origin)

    @classmethod
    def version(cls) -> str:
        lock = json.loads((HERE / "package-lock.json").read_text())
        return lock["packages"][f"node_modules/{cls.package}"]["version"]

    @classmethod
    def installed(cls) -> bool:
        return (PACKAGES / cls.package).is_dir()

    def install(self) -> None:
        raise NotImplementedError

    def listed(self) -> Listing | None:
        raise NotImplementedError

    def landed(self) -> Path:
        raise NotImplementedError

    def update(self) -> None:
        self.install()

    def repair(self) -> None:
        self.install()

    def uninstall(self) -> None:
        raise NotImplementedError

    def only(self, pattern: str) -> Path:
        """The one folder of the home that fits."""
        found = sorted(self.home.path.glob(pattern))
        assert len(found) == 1, f"{pattern}: {found}"
        return found[0]


class ClaudeCode(Client):
    title = "Claude Code"
    package = "@anthropic-ai/claude-code"
    origins = (*Client.origins, GITHUB)
    keeps = (".claude.json",)  # that the user has declined the plugin

    def install(self) -> None:
        self.home.run("claude", "plugin", "marketplace", "add", self.address)
        self.home.run("claude", "plugin", "install", PLUGIN)

    def plugin(self) -> dict | None:
        plugins = json.loads(self.home.run("claude", "plugin", "list", "--json"))
        return next((plugin for plugin in plugins if plugin["id"] == PLUGIN), None)

    def listed(self) -> Listing | None:
        plugin = self.plugin()
        if not plugin:
            return None
        assert f"Skills (1)  {NAME}\n" in self.home.run("claude", "plugin", "details", NAME)
        return Listing(self.offered()[f"{NAME}:{NAME}"].removeprefix(f"({NAME}) "), plugin["version"])

    def offered(self) -> dict[str, str]:
        """The skills and commands of a new session, which is asked for them and for nothing else."""
        request = {"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}}
        stream = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
        answer = self.home.run("claude", "-p", *stream, stdin=json.dumps(request) + "\n")
        commands = json.loads(answer.splitlines()[0])["response"]["response"]["commands"]
        return {command["name"]: command["description"] for command in commands}

    def landed(self) -> Path:
        return Path(self.plugin()["installPath"]) / "skills" / NAME

    def update(self) -> None:
        self.home.run("claude", "plugin", "marketplace", "update", NAME)
        self.home.run("claude", "plugin", "update", PLUGIN)

    def repair(self) -> None:
        self.home.run("claude", "plugin", "uninstall", PLUGIN)
        self.home.run("claude", "plugin", "install", PLUGIN)

    def uninstall(self) -> None:
        self.home.run("claude", "plugin", "uninstall", PLUGIN)
        self.home.run("claude", "plugin", "marketplace", "remove", NAME)
        self.home.shell(f"rm -r ~/.claude/plugins/cache/{NAME}")


class Codex(Client):
    title = "Codex CLI"
    package = "@openai/codex"
    origins = (*Client.origins, GITHUB)

    def install(self) -> None:
        self.home.run("codex", "plugin", "marketplace", "add", self.address)
        self.home.run("codex", "plugin", "add", PLUGIN)

    def plugin(self) -> dict | None:
        plugins = json.loads(self.home.run("codex", "plugin", "list", "--json"))["installed"]
        return next((plugin for plugin in plugins if plugin["pluginId"] == PLUGIN), None)

    def listed(self) -> Listing | None:
        description = self.seen(f"{NAME}:{NAME}")
        plugin = self.plugin()
        if not plugin:
            assert description is None
            return None
        assert plugin["enabled"] and "installed, enabled" in self.home.run("codex", "plugin", "list")
        return Listing(description or "", plugin["version"])

    def seen(self, name: str) -> str | None:
        """The description in the list of skills that stands before a model's first message."""
        messages = json.loads(self.home.run("codex", "debug", "prompt-input", "hello"))
        texts = [part.get("text", "") for message in messages for part in message.get("content", [])]
        found = re.search(rf"^- {name}: (.*) \(file: .*/SKILL\.md\)$", "\n".join(texts), re.MULTILINE)
        return found and found[1]

    def landed(self) -> Path:
        return self.only(f".codex/plugins/cache/{NAME}/{NAME}/*/skills/{NAME}")

    def update(self) -> None:
        if self.origin != "folder":
            self.home.run("codex", "plugin", "marketplace", "upgrade", NAME)
        self.home.run("codex", "plugin", "add", PLUGIN)

    def repair(self) -> None:
        self.home.run("codex", "plugin", "add", PLUGIN)

    def uninstall(self) -> None:
        self.home.run("codex", "plugin", "remove", PLUGIN)
        self.home.run("codex", "plugin", "marketplace", "remove", NAME)


class GeminiExtension(Client):
    title = "Gemini CLI, extension"
    package = "@google/gemini-cli"
    refusal = "is already installed"
    keeps = (".gemini/extension_integrity.json",)  # the hash of what was installed

    def install(self) -> None:
        self.home.run("gemini", "extensions", "install", self.address, "--consent", "--skip-settings")

    def listed(self) -> Listing | None:
        extensions = json.loads(self.home.run("gemini", "extensions", "list", "-o", "json") or "[]")
        if not extensions:
            return None
        assert f"{NAME} [Enabled]" in self.home.run("gemini", "skills", "list")
        [extension] = extensions
        [skill] = extension["skills"]
        return Listing(skill["description"], extension["version"], skill["body"])

    def landed(self) -> Path:
        return self.home.path / ".gemini" / "extensions" / NAME / "skills" / NAME

    def update(self) -> None:
        self.home.run("gemini", "extensions", "update", NAME, stdin="y\n")

    def repair(self) -> None:
        self.home.run("gemini", "extensions", "uninstall", NAME)
        self.install()

    def uninstall(self) -> None:
        self.home.run("gemini", "extensions", "uninstall", NAME)


class GeminiSkill(Client):
    title = "Gemini CLI, skill"
    package = "@google/gemini-cli"

    def install(self) -> None:
        self.home.run("gemini", "skills", "install", self.address, "--path", f"skills/{NAME}", "--consent")

    def listed(self) -> Listing | None:
        output = self.home.run("gemini", "skills", "list")
        found = re.search(rf"^{NAME} \[Enabled\]\n +Description: (.*)$", output, re.MULTILINE)
        return found and Listing(found[1])

    def landed(self) -> Path:
        return self.home.path / ".gemini" / "skills" / NAME

    def uninstall(self) -> None:
        self.home.run("gemini", "skills", "uninstall", NAME)


class OpenCode(Client):
    title = "OpenCode"
    package = "opencode-linux-x64"
    keeps = (".npm/_cacache/tmp/*",)  # a clone that npm has not yet cleared from its cache

    @property
    def address(self) -> str:
        return f"{NAME}@git+{'file://' if self.origin == 'folder' else ''}{super().address}"

    def install(self) -> None:
        self.home.run("opencode", "plugin", "-g", self.address)

    def listed(self) -> Listing | None:
        skills = json.loads(self.home.run("opencode", "debug", "skill"))
        found = [skill for skill in skills if skill["name"] == NAME]
        return Listing(found[0]["description"], body=found[0]["content"]) if found else None

    def landed(self) -> Path:
        return self.only(f".cache/opencode/packages/**/node_modules/{NAME}/skills/{NAME}")

    def update(self) -> None:
        self.forget()
        self.home.run("opencode", "plugin", "-g", "--force", self.address)

    repair = update

    def uninstall(self) -> None:
        settings = self.home.path / ".config" / "opencode" / "opencode.jsonc"
        lines = settings.read_text().splitlines(keepends=True)
        settings.write_text("".join(line for line in lines if f"{NAME}@" not in line))
        self.forget()

    def forget(self) -> None:
        self.home.shell(f"rm -r ~/.cache/opencode/packages/{NAME}@*")


class SkillsCli(Client):
    title = "skills CLI"
    package = "skills"
    origins = (*Client.origins, GITHUB)
    agents: ClassVar[list[str]] = ["claude-code", "codex", "gemini-cli", "opencode"]
    options: ClassVar[list[str]] = []

    def skills(self, *words: str) -> str:
        command = PACKAGES / self.package / "bin" / "cli.mjs"
        return self.home.run("npx", f"skills@{self.version()}", *words, program=["node", command])

    def install(self) -> None:
        agents = [word for agent in self.agents for word in ("-a", agent)]
        self.skills("add", self.address, "--skill", NAME, *agents, *self.options, "-y")

    def listed(self) -> Listing | None:
        names = [skill["name"] for skill in json.loads(self.skills("list", "--json"))]
        if NAME not in names:
            return None
        found = re.search(rf"│ +{NAME}\n│\n│ +(.*)\n", self.skills("add", self.address, "--list"))
        return Listing(found[1] if found else "")

    def landed(self) -> Path:
        return self.home.project / ".agents" / "skills" / NAME

    def uninstall(self) -> None:
        self.skills("remove", NAME, "-y")


class SkillsCliCopies(SkillsCli):
    title = "skills CLI for Node 18, copies"
    package = "skills-for-node-18"
    keeps = ("project/skills-lock.json",)  # its remove forgets the entry
    options: ClassVar[list[str]] = ["--copy"]


CLIENTS: list[type[Client]] = [ClaudeCode, Codex, GeminiExtension, GeminiSkill, OpenCode, SkillsCli, SkillsCliCopies]


def install_again(client: Client) -> None:
    """Install what is installed; a client may refuse, if it says why."""
    try:
        client.install()
    except CommandFailed as error:
        if not client.refusal or client.refusal not in str(error):
            raise
