"""What deployment files start: a small reader of YAML, INI, Dockerfiles and shell, and the Celery commands in them.

No YAML parser comes with Python. This one knows block mappings and lists, flow lists and mappings on one line or more,
plain and quoted text, block text, anchors with merge keys, and documents; template lines (``{{- if … }}``) are passed
over. What it cannot read becomes text, never an error.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from .project import Project, TextFile

MAX_NESTING = 30


@dataclass(eq=False)
class Node:
    """A YAML value with the line it begins on: text, a list, or a mapping."""

    line: int
    value: str | list[Node] | dict[str, Node]

    def get(self, *keys: str) -> Node | None:
        """The node under a path of mapping keys, if there."""
        node: Node | None = self
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        return node

    def text(self, *keys: str) -> str | None:
        """The text under a path of mapping keys; None when it is absent or no text."""
        node = self.get(*keys)
        return node.value if node is not None and isinstance(node.value, str) else None

    def items(self) -> list[Node]:
        """The elements of a list; none for anything else."""
        return self.value if isinstance(self.value, list) else []


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def read_yaml(lines: list[str]) -> list[Node]:
    """The documents of a YAML file."""
    documents: list[Node] = []
    block: list[_Line] = []
    for number, raw in enumerate([*lines, "---"], 1):
        text = raw.rstrip()
        if re.match(r"---(\s|$)", text):
            if block:
                documents.append(_Reader(block).document())
            block = []
        elif text.strip():
            block.append(_Line(number, len(text) - len(text.lstrip()), text.strip()))
    return documents


class _Reader:
    """Reads one document by recursive descent over its lines."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.at = 0
        self.anchors: dict[str, Node] = {}

    def document(self) -> Node:
        first = self._peek()
        return self._block(first.indent, 0) if first else Node(1, "")

    def _peek(self) -> _Line | None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.text.startswith(("#", "{{", "{%", "%")):
                return line
            self.at += 1
        return None

    def _block(self, indent: int, depth: int) -> Node:
        """A mapping or a list whose entries stand at one indentation."""
        first = self._peek()
        if first is None or depth > MAX_NESTING:
            self.at = len(self.lines) if first else self.at
            return Node(first.number if first else 1, "")
        if anchor := re.match(r"&([\w.-]+)\s*(#.*)?$", first.text):  # on a line of its own
            self.at += 1
            after = self._peek()
            if after is None or after.indent < indent:
                return Node(first.number, "")
            self.anchors[anchor[1]] = node = self._block(after.indent, depth + 1)
            return node
        if first.text == "-" or first.text.startswith("- "):
            return self._list(first, indent, depth)
        if _key(first.text) is None:
            self.at += 1
            return self._scalar(first.text, first, depth)
        return self._mapping(first, indent, depth)

    def _list(self, first: _Line, indent: int, depth: int) -> Node:
        found: list[Node] = []
        while (line := self._peek()) and line.indent == indent and (line.text == "-" or line.text.startswith("- ")):
            rest = line.text[1:].strip()
            if not rest or rest.startswith("#"):
                self.at += 1
                found.append(self._below(line, indent, depth))
            elif _key(rest) is not None and not rest.startswith(("{", "[", "&", "*")):
                inside = indent + len(line.text) - len(rest)
                self.lines[self.at] = _Line(line.number, inside, rest)
                found.append(self._block(inside, depth + 1))
            else:
                self.at += 1
                found.append(self._scalar(rest, line, depth))
        return Node(first.number, found)

    def _mapping(self, first: _Line, indent: int, depth: int) -> Node:
        found: dict[str, Node] = {}
        merged: list[Node] = []
        while (line := self._peek()) and line.indent == indent:
            pair = _key(line.text)
            self.at += 1
            if pair is None:
                continue
            key, rest = pair
            anchor = re.match(r"&([\w.-]+)\s*", rest)
            if anchor:
                rest = rest[anchor.end() :]
            value = (
                Node(line.number, self._below(line, indent, depth).value)
                if not rest or rest.startswith("#")
                else self._scalar(rest, line, depth)
            )
            if anchor:
                self.anchors[anchor[1]] = value
            if key == "<<":
                merged += value.items() or [value]
            else:
                found[key] = value
        for other in merged:
            if isinstance(other.value, dict):
                found = {**other.value, **found}
        while (line := self._peek()) and line.indent > indent:  # what a template left over
            self.at += 1
        return Node(first.number, found)

    def _below(self, line: _Line, indent: int, depth: int) -> Node:
        after = self._peek()
        if after is None or after.indent < indent:
            return Node(line.number, "")
        if after.indent == indent and not (after.text.startswith("- ") and not line.text.startswith("-")):
            return Node(line.number, "")
        return self._block(after.indent, depth + 1)

    def _scalar(self, text: str, line: _Line, depth: int) -> Node:
        if text.startswith("*"):
            return self.anchors.get(text[1:].split()[0] if text[1:].split() else "", Node(line.number, text))
        if text[0] in "|>" and re.match(r"[|>][+\-\d]*\s*(#.*)?$", text):
            parts = []
            while self.at < len(self.lines) and self.lines[self.at].indent > line.indent:
                parts.append(self.lines[self.at].text)
                self.at += 1
            return Node(line.number, ("\n" if text[0] == "|" else " ").join(parts))
        if text[0] in "[{" and not text.startswith("{{"):
            while not _closed(text) and self.at < len(self.lines) and len(text) < 10_000:
                text += " " + _uncomment(self.lines[self.at].text)
                self.at += 1
            return _flow(_uncomment(text), line.number, self.anchors, depth)
        if text[0] in "\"'" and not _closes(text):
            while self.at < len(self.lines) and not _closes(text) and len(text) < 10_000:
                text += " " + self.lines[self.at].text
                self.at += 1
        elif text[0] not in "\"'":  # a plain text may go on, further in
            while self.at < len(self.lines) and self.lines[self.at].indent > line.indent + 1:
                more = self.lines[self.at].text
                if _key(more) is not None or more.startswith(("- ", "#", "{{")):
                    break
                text += " " + more
                self.at += 1
        return Node(line.number, _unquote(_uncomment(text)))


def _key(text: str) -> tuple[str, str] | None:
    """Key and rest of ``key: rest``; None when the line is no pair."""
    match = re.match(r"""("[^"]*"|'[^']*'|[^\s"'\[\]{}#&*!|>%@`,-][^#]*?|-[^\s#][^#]*?|<<)\s*:(?:\s+(.*)|$)""", text)
    return (_unquote(match[1]), (match[2] or "").strip()) if match else None


def _uncomment(text: str) -> str:
    if "#" not in text:
        return text
    quote = ""
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (index == 0 or text[index - 1].isspace()):
            return text[:index].rstrip()
    return text


def _closes(text: str) -> bool:
    return len(text) > 1 and bool(re.match(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(#.*)?$""", text))


def _closed(text: str) -> bool:
    depth, quote = 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
    return depth <= 0


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1])
    return text


def _flow(text: str, line: int, anchors: dict[str, Node], depth: int = 0) -> Node:
    """``[a, b]`` and ``{a: b}``; anything else is text."""
    text = text.strip()
    if anchor := re.match(r"&([\w.-]+)\s+", text):
        anchors[anchor[1]] = node = _flow(text[anchor.end() :], line, anchors, depth + 1)
        return node
    if text.startswith("*"):
        return anchors.get(text[1:].strip(), Node(line, text))
    if depth > MAX_NESTING or len(text) < 2 or (text[0], text[-1]) not in (("[", "]"), ("{", "}")):
        return Node(line, _unquote(text))
    parts = [part.strip() for part in _split(text[1:-1]) if part.strip()]
    if text[0] == "[":
        return Node(line, [_flow(part, line, anchors, depth + 1) for part in parts])
    pairs = (re.match(r"""("[^"]*"|'[^']*'|[^:]+?)\s*:\s*(.*)$""", part, re.DOTALL) for part in parts)
    return Node(line, {_unquote(pair[1]): _flow(pair[2], line, anchors, depth + 1) for pair in pairs if pair})


def _split(text: str) -> Iterator[str]:
    depth, quote, start = 0, "", 0
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


# Commands.

SUBCOMMANDS = {
    "amqp", "beat", "call", "control", "events", "flower", "graph", "inspect", "list", "logtool", "migrate", "multi",
    "purge", "report", "result", "shell", "status", "upgrade", "worker",
}  # fmt: skip
VALUED = {"-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"}  # global options
OPERATORS = {"&&", "||", ";", "|", "&", ">", ">>", "<", "|&", "(", ")", ";;", "<<", ">&", "&>"}
JOINS = {"&&", ";"}
SHELL = re.compile(r"(?:.*/)?(?P<name>ba|da|a)?sh$")
NO_RUNNERS = {
    "pip", "echo", "printf", "mkdir", "rm", "chown", "chmod", "grep", "apt-get", "apk", "cd", "pkill", "cp", "touch",
    "pgrep", "kill", "service", "systemctl", "supervisorctl", "docker-compose", "docker", "export", "local",
}  # fmt: skip
RUNNERS = {
    "exec", "nohup", "env", "time", "timeout", "nice", "sudo", "gosu", "su-exec", "setpriv", "chpst", "s6-setuidgid",
    "poetry", "uv", "pipenv", "pdm", "hatch", "python", "python3", "dumb-init", "tini", "watchmedo", "watchfiles",
    "newrelic-admin", "ddtrace-run", "opentelemetry-instrument", "until", "if", "while", "!", "then", "do", "else",
    "django-admin",
}  # fmt: skip


@dataclass
class Command:
    """A ``celery`` command: ``celery <options> <name> <rest>``."""

    line: int
    name: str  # worker, beat, flower, inspect …
    options: list[str]
    rest: list[str]
    program: str = "celery"  # or "manage.py", where Celery's commands were before Celery 4
    direct: bool = True  # whether the process that a container or supervisor signals becomes this command
    after: str = ""  # the operator after it: "|", "&", "&&" …
    script: str = ""  # the shell script it stands in

    def option(self, *names: str) -> str | None:
        """The value of an option after the name; "" for a flag; None when absent."""
        return _option(self.rest, names)

    @property
    def app(self) -> str | None:
        return _option(self.options, ("-A", "--app")) or _option(self.rest, ("-A", "--app"))

    @property
    def has_beat(self) -> bool:
        """Whether it sends schedules: ``beat``, or a worker with ``-B``."""
        return self.name == "beat" or (self.name == "worker" and self.option("-B", "--beat") is not None)


def _option(words: list[str], names: tuple[str, ...]) -> str | None:
    for index, word in enumerate(words):
        for name in names:
            if word == name:
                after = words[index + 1] if index + 1 < len(words) else ""
                return "" if after.startswith("-") else after
            if name.startswith("--") and word.startswith(f"{name}="):
                return word[len(name) + 1 :]
            if not name.startswith("--") and word.startswith(name) and not word.startswith("--"):
                return word[2:]
    return None


def words_of(text: str) -> list[str]:
    """A shell text as words, operators apart; what is substituted is one word, and bad quoting is borne."""
    text = re.sub(r"\{\{.*?\}\}", "TEMPLATE", text)
    text = re.sub(r"\$\{(\w+)[^{}]*\}", r"${\1}", text)
    text = re.sub(r"\$\([^()]*\)", "${_}", text)
    text = text.replace("\\\n", " ").replace("\n", " ; ")
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;<>()")
        lexer.whitespace_split = True
        lexer.commenters = ""
        return list(lexer)
    except ValueError:
        return text.split()


def commands_in(words: list[str], line: int, shell: str = "", depth: int = 0) -> Iterator[Command]:
    """The Celery commands among words; those of an inner ``sh -c "…"`` included.

    ``shell`` is what reads the words: nothing, where they are a list of arguments; ``sh`` or ``bash`` with ``-c``;
    or ``script``.
    """
    for piece, after, direct in _pieces(words, shell):
        inner = next(
            (n for n, word in enumerate(piece[:-2]) if SHELL.match(word) and re.fullmatch(r"-[a-z]*c", piece[n + 1])),
            None,
        )
        if inner is not None and depth < 3:
            name = "bash" if SHELL.match(piece[inner])["name"] == "ba" else "sh"  # type: ignore[index]
            for found in commands_in(words_of(piece[inner + 2]), line, name, depth + 1):
                found.direct = found.direct and direct
                yield found
        else:
            command = _command(piece, line, shell == "script")
            if command is not None:
                command.direct, command.after = direct, after
                yield command


def _pieces(words: list[str], shell: str) -> Iterator[tuple[list[str], str, bool]]:
    """The simple commands of a shell text, with the operator after each and whether it takes the shell's place."""
    if not shell:
        yield words, "", True
        return
    start, ends = 0, [n for n, word in enumerate(words) if word in OPERATORS]
    # Bash runs the last command of `-c` in its place, unless a redirection or `||` is about; dash and scripts do not.
    replaces = shell == "bash" and all(words[n] in JOINS for n in ends)
    for end in [*ends, len(words)]:
        piece = words[start:end]
        if piece:
            after = words[end] if end < len(words) else ""
            is_last = not any(word not in JOINS for word in words[end:])
            yield piece, after, piece[0] == "exec" or (replaces and is_last)
        start = end + 1


def _command(piece: list[str], line: int, strict: bool) -> Command | None:
    """The Celery command of one simple command. In a script (``strict``) only what is known to run others may lead."""
    for index, word in enumerate(piece):
        if word.rpartition("/")[2] != "celery":
            continue
        before = [part for part in piece[:index] if not re.match(r"\w+=", part)]
        first = before[0] if before else ""
        if first in NO_RUNNERS or (
            strict and before and first not in RUNNERS and not re.search(r"/|\.sh$|\.py$", first)
        ):
            return None
        options, after = _options(piece[index + 1 :])
        if not after or after[0] not in SUBCOMMANDS:
            continue
        is_managed = bool(before) and re.search(r"(^|/)(manage\.py|django-admin)$", before[-1])
        return Command(line, after[0], options, after[1:], "manage.py" if is_managed else "celery")
    return None


def _options(words: list[str]) -> tuple[list[str], list[str]]:
    """The global options at the beginning, and what is left."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in VALUED else 1
    return words[:at], words[at:]


# Processes.


@dataclass
class Process:
    """Something that a deployment file runs, with the Celery commands it comes to."""

    kind: str  # compose, kubernetes, systemd, supervisor, procfile, dockerfile
    name: str
    line: int
    commands: list[Command]
    node: Node | None = None  # the Compose service, or the container
    document: Node | None = None  # the Compose file, or the Kubernetes object
    settings: dict[str, tuple[int, str]] = field(default_factory=dict)  # of systemd and supervisor, keys lowered

    def first(self, name: str) -> Command | None:
        return next((command for command in self.commands if command.name == name), None)


def processes(text: TextFile, project: Project) -> list[Process]:
    """What a file starts; kept, since several rules ask."""
    known = _kept(project)
    if text.path not in known:
        known[text.path] = list(_processes(text, project))
    return known[text.path]


@lru_cache(maxsize=2)
def _kept(project: Project) -> dict[str, list[Process]]:  # noqa: ARG001  one for each project
    return {}


def _processes(text: TextFile, project: Project) -> Iterator[Process]:
    name = re.sub(r"\.(j2|jinja2?|tpl|template|in)$", "", text.path.rpartition("/")[2].lower())
    if name.endswith((".yml", ".yaml")):
        yield from _from_yaml(text, project)
    elif name.endswith((".service", ".conf", ".ini")):
        yield from _from_ini(text, project, name)
    elif name.startswith("procfile"):
        for number, line in enumerate(text.lines, 1):
            if match := re.match(r"([\w-]+):\s*(.+)", line):
                yield Process("procfile", match[1], number, _resolved(words_of(match[2]), number, project, "sh"))
    elif "dockerfile" in name:
        yield from _from_dockerfile(text, project)


def is_script(text: TextFile) -> bool:
    """Whether a file is a shell script: by its ending, or by its first line."""
    first = text.lines[0] if text.lines else ""
    return text.path.endswith((".sh", ".bash")) or bool(re.match(r"#!.*\b(?:ba|da|a)?sh\b|#!.*with-contenv", first))


def script_commands(text: TextFile) -> list[Command]:
    """The Celery commands of a shell script, continued lines joined, here-documents left out."""
    found: list[Command] = []
    until = None
    for number, line in _logical(text.lines):
        if until is not None:
            until = None if line.strip() == until else until
            continue
        if heredoc := re.search(r"<<-?\s*[\"']?(\w+)[\"']?", line):
            until = heredoc[1]
        if "celery" in line and not line.lstrip().startswith("#"):
            for command in commands_in(words_of(_uncomment(line)), number, "script"):
                command.script = text.path
                found.append(command)
    return found


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues joined to them."""
    kept, start = "", 0
    for number, line in enumerate(lines, 1):
        if kept and line.lstrip().startswith("#"):
            continue
        start = start if kept else number
        if line.rstrip().endswith("\\"):
            kept += line.rstrip()[:-1] + " "
            continue
        yield start, kept + line
        kept = ""
    if kept:
        yield start, kept


def read_ini(lines: list[str]) -> Iterator[tuple[str, dict[str, tuple[int, str]]]]:
    """Sections of a systemd or supervisor file: each key, lowered, with its line and text."""
    section, keys, last = "", {}, ""
    for number, line in _logical(lines):
        text = line.strip()
        if text.startswith(("#", ";")) or not text:
            continue
        if match := re.match(r"\[([^\]]+)\]", text):
            if section:
                yield section, keys
            section, keys, last = match[1], {}, ""
        elif line[:1].isspace() and last:
            start, before = keys[last]
            keys[last] = (start, f"{before} {text}")
        elif "=" in text:
            last, _, value = text.partition("=")
            last = last.strip().lower()
            keys[last] = (number, re.sub(r"\s;.*$", "", value.strip()))
    if section:
        yield section, keys


def _resolved(words: list[str], line: int, project: Project, shell: str = "") -> list[Command]:
    """The commands of words; where there are none, those of a script of this project that the words start."""
    found = list(commands_in(words, line, shell))
    if found:
        return found
    for word in words:
        base = word.rpartition("/")[2]
        script = _scripts(project).get(base) if "/" in word or "." in base else None
        if script is not None:
            return [replace(command, line=line) for command in script_commands(script)]
    return []


@lru_cache(maxsize=2)
def _scripts(project: Project) -> dict[str, TextFile]:
    """Shell scripts by their name, where only one has it, and that start one kind of Celery command."""
    by_name: dict[str, list[TextFile]] = {}
    for text in project.text:
        if is_script(text):
            by_name.setdefault(text.path.rpartition("/")[2], []).append(text)
    return {
        name: texts[0]
        for name, texts in by_name.items()
        if len(texts) == 1 and len({command.name for command in script_commands(texts[0])}) == 1
    }


def argv(node: Node | None) -> list[str]:
    """A command as words, be it a list or a text."""
    if node is None:
        return []
    if isinstance(node.value, list):
        return [item.value if isinstance(item.value, str) else "" for item in node.value]
    return words_of(node.value) if isinstance(node.value, str) else []


def _from_yaml(text: TextFile, project: Project) -> Iterator[Process]:
    for document in read_yaml(text.lines):
        services = document.get("services")
        if services is not None and isinstance(services.value, dict):
            for name, service in services.value.items():
                if isinstance(service.value, dict):
                    words = [*argv(service.get("entrypoint")), *argv(service.get("command"))]
                    line = (service.get("command") or service.get("entrypoint") or service).line
                    yield Process("compose", name, line, _resolved(words, line, project), service, document)
        elif document.text("kind") in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod"):
            spec = document.get("spec", "template", "spec") or document.get("spec")
            containers = spec.get("containers") if spec else None
            for container in containers.items() if containers else ():
                words = [*argv(container.get("command")), *argv(container.get("args"))]
                line = (container.get("command") or container.get("args") or container).line
                name = container.text("name") or ""
                yield Process("kubernetes", name, line, _resolved(words, line, project), container, document)


def _from_ini(text: TextFile, project: Project, name: str) -> Iterator[Process]:
    for section, keys in read_ini(text.lines):
        if section.lower() == "service" and "execstart" in keys:
            line, command = keys["execstart"]
            yield Process(
                "systemd", name, line, _resolved(words_of(command.lstrip("-@:+!")), line, project), settings=keys
            )
        elif section.startswith("program:") and "command" in keys:
            line, command = keys["command"]
            found = _resolved(words_of(command), line, project)
            yield Process("supervisor", section[8:], line, found, settings=keys)


def _from_dockerfile(text: TextFile, project: Project) -> Iterator[Process]:
    entry: list[str] = []
    for number, line in _logical(text.lines):
        match = re.match(r"\s*(FROM|CMD|ENTRYPOINT)\b\s*(.*)", line, re.IGNORECASE)
        if not match:
            continue
        instruction, rest = match[1].upper(), match[2].strip()
        if instruction == "FROM":
            entry = []
            continue
        shell = "" if rest.startswith("[") else "sh"
        words = words_of(rest) if shell else argv(_flow(rest, number, {}))
        if instruction == "ENTRYPOINT":
            entry = words if not shell else []
        elif not shell:
            words = [*entry, *words]
        yield Process("dockerfile", instruction, number, _resolved(words, number, project, shell))
