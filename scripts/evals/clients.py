"""The command-line clients: how each is started without a person, where it finds a skill, and what its output tells."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# All that a client gets of the environment, beside its keys: nothing of it tells who runs it, or of another client.
INHERITED = (
    *("PATH", "LANG", "LC_ALL", "TZ", "TERM", "SHELL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
)
Event = dict[str, Any]


@dataclass
class Outcome:
    """What a client's output tells of one run. None is what it does not tell."""

    input: int = 0  # tokens that were read at the full price
    cached: int = 0  # tokens that were read from a cache
    output: int = 0
    cost: float | None = None
    finished: bool = False
    error: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)  # tools that were called, with their input as JSON

    @property
    def tokens(self) -> int:
        return self.input + self.cached + self.output

    def call(self, tool: str, given: object) -> None:
        self.calls.append((tool, json.dumps(given, ensure_ascii=False)))


@dataclass(frozen=True)
class Client:
    """One client. ``keys`` are the variables of which it needs one; it also gets ``passed`` where they are set."""

    name: str
    keys: tuple[str, ...]
    passed: tuple[str, ...]
    skills: str  # the folder of skills in its home
    arguments: Callable[[str, Path], list[str]]
    read: Callable[[Event, Outcome], None]
    files: dict[str, Any] = field(default_factory=dict)  # settings in its home, as JSON
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, prompt: str, workspace: Path, model: str) -> list[str]:
        """The words that start it."""
        return [self.name, *self.arguments(prompt, workspace), *(["--model", model] if model else [])]

    def key(self) -> str:
        """The variable that holds its key, or nothing."""
        return next((key for key in self.keys if os.environ.get(key)), "")

    def environ(self, home: Path) -> dict[str, str]:
        """The environment of a run."""
        given = {name: os.environ[name] for name in (*INHERITED, *self.keys, *self.passed) if name in os.environ}
        python = str(Path(sys.executable).parent)  # has Django and Celery, for an assistant that tries its work
        given["PATH"] = os.pathsep.join([python, given.get("PATH", os.defpath)])
        return given | {"HOME": str(home), "TMPDIR": str(home / "tmp")} | self.environment

    def furnish(self, home: Path) -> None:
        """Make a home in which nothing was ever done."""
        (home / "tmp").mkdir(parents=True)
        for name, settings in self.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(json.dumps(settings))

    def outcome(self, transcript: str) -> Outcome:
        """What a transcript tells."""
        outcome = Outcome()
        for event in events(transcript):
            self.read(event, outcome)
        if not outcome.finished and not outcome.error:
            outcome.error = "its output has no end"
        return outcome


def events(transcript: str) -> Iterator[Event]:
    """The JSON objects of a transcript, a line each; other lines are a client's chatter."""
    for line in transcript.splitlines():
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def words(value: object) -> Iterable[str]:
    """Every string in a piece of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)


def _number(holder: object, *names: str) -> int:
    """The sum of numbers in an object; 0 for those that are not there."""
    values = [holder.get(name) for name in names] if isinstance(holder, dict) else []
    return sum(int(value) for value in values if isinstance(value, int | float))


# Claude Code.

CLAUDE_TOOLS = "Bash,Edit,MultiEdit,Write,Read,Glob,Grep,Skill,TodoWrite,Task"


def _claude(prompt: str, _workspace: Path) -> list[str]:
    stream = ["--output-format", "stream-json", "--verbose", "--no-session-persistence", "--strict-mcp-config"]
    tools = [
        "--permission-mode",
        "acceptEdits",
        "--allowedTools",
        CLAUDE_TOOLS,
        "--disallowedTools",
        "WebFetch,WebSearch",
    ]
    return ["-p", prompt, *stream, *tools]


def _read_claude(event: Event, outcome: Outcome) -> None:
    if event.get("type") == "assistant":
        for part in event.get("message", {}).get("content", []):
            if isinstance(part, dict) and part.get("type") == "tool_use":
                outcome.call(part.get("name", ""), part.get("input"))
    elif event.get("type") == "result":
        usage = event.get("usage")
        outcome.input += _number(usage, "input_tokens", "cache_creation_input_tokens")
        outcome.cached += _number(usage, "cache_read_input_tokens")
        outcome.output += _number(usage, "output_tokens")
        outcome.cost = event.get("total_cost_usd")
        outcome.finished = True
        if event.get("is_error"):
            outcome.error = str(event.get("result") or event.get("subtype"))


# Codex CLI.


def _codex(prompt: str, workspace: Path) -> list[str]:
    apart = [
        "--sandbox",
        "workspace-write",
        "--config",
        'web_search="disabled"',
        "--skip-git-repo-check",
        "--ephemeral",
    ]
    return ["exec", "--json", *apart, "--cd", str(workspace), prompt]


def _read_codex(event: Event, outcome: Outcome) -> None:
    kind = event.get("type")
    if kind == "item.completed":
        item = event.get("item", {})
        if item.get("type") in ("command_execution", "mcp_tool_call", "file_change", "web_search"):
            outcome.call(item["type"], {name: item[name] for name in ("command", "tool", "changes") if name in item})
    elif kind == "turn.completed":
        usage = event.get("usage")
        cached = _number(usage, "cached_input_tokens")
        outcome.input += _number(usage, "input_tokens") - cached
        outcome.cached += cached
        outcome.output += _number(usage, "output_tokens")
        outcome.finished = True
    elif kind == "turn.failed":
        outcome.error = " ".join(words(event.get("error"))) or "the turn failed"


# Gemini CLI.

GEMINI_SETTINGS = {
    "tools": {"exclude": ["google_web_search", "web_fetch"]},
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
}


def _gemini(prompt: str, _workspace: Path) -> list[str]:
    return ["-p", prompt, "--output-format", "stream-json", "--approval-mode", "yolo"]


def _read_gemini(event: Event, outcome: Outcome) -> None:
    if event.get("type") == "tool_use":
        outcome.call(event.get("tool_name", ""), event.get("parameters"))
    elif event.get("type") == "result":
        stats = event.get("stats")
        cached, read = _number(stats, "cached"), _number(stats, "input_tokens")
        outcome.input += read - cached
        outcome.cached += cached
        outcome.output += max(_number(stats, "total_tokens") - read, _number(stats, "output_tokens"))  # with thoughts
        outcome.finished = True
        if event.get("status") == "error":
            outcome.error = " ".join(words(event.get("error"))) or "the run failed"


# OpenCode.

OPENCODE_SETTINGS = {
    "$schema": "https://opencode.ai/config.json",
    "permission": {"webfetch": "deny", "websearch": "deny"},
    "autoupdate": False,
    "share": "disabled",
}


def _opencode(prompt: str, workspace: Path) -> list[str]:
    return ["run", "--format", "json", "--auto", "--dir", str(workspace), prompt]


def _read_opencode(event: Event, outcome: Outcome) -> None:
    part = event.get("part") or {}
    if event.get("type") == "tool_use":
        outcome.call(part.get("tool", ""), (part.get("state") or {}).get("input"))
    elif event.get("type") == "step_finish":
        tokens = part.get("tokens") or {}
        outcome.input += _number(tokens, "input") + _number(tokens.get("cache"), "write")
        outcome.cached += _number(tokens.get("cache"), "read")
        outcome.output += _number(tokens, "output", "reasoning")
        outcome.cost = (outcome.cost or 0.0) + float(part.get("cost") or 0.0)
        outcome.finished = True
    elif event.get("type") == "error":
        outcome.error = " ".join(words(event.get("error"))) or "the run failed"


CLIENTS = {
    client.name: client
    for client in (
        Client(
            name="claude",
            keys=("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
            passed=("ANTHROPIC_BASE_URL",),
            skills=".claude/skills",
            arguments=_claude,
            read=_read_claude,
            environment={"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        ),
        Client(
            name="codex",
            keys=("CODEX_API_KEY",),
            passed=(),
            skills=".codex/skills",
            arguments=_codex,
            read=_read_codex,
        ),
        Client(
            name="gemini",
            keys=("GEMINI_API_KEY",),
            passed=("GOOGLE_GEMINI_BASE_URL",),
            skills=".gemini/skills",
            arguments=_gemini,
            read=_read_gemini,
            files={".gemini/settings.json": GEMINI_SETTINGS},
            environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
        ),
        Client(
            name="opencode",
            keys=("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_API_KEY"),
            passed=(),
            skills=".config/opencode/skills",
            arguments=_opencode,
            read=_read_opencode,
            files={".config/opencode/opencode.json": OPENCODE_SETTINGS},
            environment={"OPENCODE_DISABLE_AUTOUPDATE": "1"},
        ),
    )
}
