"""Every command line of a Markdown file, wherever it stands: shell and text fences, systemd and supervisor, YAML,
Dockerfiles, code spans.

Variables and ``<placeholders>`` become ``1``, which any option takes. Nothing is run here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from pages import PAGES, ROOT
from validate.document import SHELL, Fence, parse

FILES = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md"))]
# The programs that a code span or a line of a text fence may begin with to be taken for a command.
PROGRAMS = ("celery", "kubectl", "make", "manage.py", "pip", "python manage.py", "rabbitmqctl", "redis-cli")
VARIABLE = re.compile(r"\$\([\w.]+\)|\$\{[^}]*\}|\$\w+")
ANGLES = re.compile(r"<[A-Za-z][\w .:/|,'-]*>")
OMITTED = {"…", "..."}
OPERATOR = re.compile(r"[();<>|&]+")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
BEFORE_PROGRAM = {"exec", "env", "nohup", "sudo", "time", "then", "do", "else", "!", "if", "while"}
INI_COMMAND = re.compile(r"^(Exec\w+|command)\s*=\s*[-@+!:|]*(.*)$")
DOCKER_COMMAND = re.compile(r"^(?:CMD|ENTRYPOINT|RUN|HEALTHCHECK(?:\s+--\S+)*\s+CMD)\s+(.*)$", re.IGNORECASE)
YAML_COMMANDS = ("command", "entrypoint", "test")  # `args` continues the `command` beside it


@dataclass(frozen=True)
class Command:
    """A command line, the fence's language (``span`` in prose) and where it stands."""

    path: Path
    line: int
    where: str
    argv: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def program(self) -> str:
        return self.argv[0]

    def __str__(self) -> str:
        return f"{self.place}: {shlex.join(self.argv)}"


def commands(path: Path, text: str | None = None) -> list[Command]:
    """All commands of a file, in order of their kind and place."""
    text = path.read_text() if text is None else text
    found: dict[Command, None] = {}
    for fence in parse(path.name, text).fences:
        for line, argv in _of_fence(fence):
            found[Command(path, fence.line + line, fence.language, argv)] = None
    for line, span in code_spans(text):
        if span.startswith(tuple(f"{program} " for program in PROGRAMS)):
            found |= dict.fromkeys(Command(path, line, "span", argv) for _, argv in split(span))
    return list(found)


def code_spans(text: str) -> Iterator[tuple[int, str]]:
    """The line and the content of every code span."""
    for token in MarkdownIt("commonmark").use(front_matter_plugin).parse(text):
        at = 0
        for child in token.children or ():
            if child.type == "code_inline":
                at = max(token.content.find(child.content, at), at)
                yield token.map[0] + 1 + token.content.count("\n", 0, at), child.content
                at += len(child.content)


def split(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The simple commands of a shell text, each with its line (from 1): without operators and redirections."""
    text = ANGLES.sub("1", text)
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        pending += line
        if re.search(r"(?<!\\)\\$", line) and not re.search(r"\s#\s", line):
            pending = pending[:-1] + " "
            continue
        try:
            tokens = _tokens(pending)
        except ValueError:  # an open quote
            pending += "\n"
            continue
        yield from ((first, argv) for argv in _simple_commands(tokens))
        pending, first = "", 0
    if pending:
        raise ValueError(f"an unfinished command: {pending!r}")


def _tokens(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _simple_commands(tokens: list[str]) -> Iterator[tuple[str, ...]]:
    argv: list[str] = []
    skip = False
    for token in [*tokens, ";"]:
        if skip:
            skip = False
        elif not OPERATOR.fullmatch(token):
            argv.append(token)
        elif token[0] in "<>":
            skip = True
            if argv and argv[-1].isdigit():
                argv.pop()
        else:
            if plain := normal(argv):
                yield plain
            argv = []


def normal(argv: list[str]) -> tuple[str, ...]:
    """Without what stands before the program, its folder, and variables: `python manage.py x` begins with manage.py."""
    rest = list(argv)
    while rest and (rest[0] in BEFORE_PROGRAM or ASSIGNMENT.match(rest[0])):
        rest.pop(0)
    rest = [VARIABLE.sub("1", word) for word in rest if word not in OMITTED]
    if not rest:
        return ()
    rest[0] = PurePosixPath(rest[0]).name
    if re.fullmatch(r"python[\d.]*", rest[0]) and len(rest) > 1:
        if rest[1] == "-m" and len(rest) > 2:
            rest = rest[2:]
        elif rest[1].endswith("manage.py"):
            rest = ["manage.py", *rest[2:]]
    return tuple(rest)


def _of_fence(fence: Fence) -> Iterator[tuple[int, tuple[str, ...]]]:
    if fence.language in SHELL:
        yield from split(fence.content)
    elif fence.language in ("console", "text", ""):
        yield from _prompted(fence.content)
    elif fence.language in ("ini", "systemd"):
        yield from _ini(fence.content)
    elif fence.language in ("yaml", "yml"):
        yield from yaml_commands(fence.content)
    elif fence.language in ("dockerfile", "docker"):
        yield from _docker(fence.content)


def _prompted(content: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Lines after a prompt, and lines that begin with a program that we know; the others are output."""
    for number, line in enumerate(content.splitlines(), 1):
        command = re.sub(r"^\s*[$#] ", "", line)
        if command != line or command.startswith(tuple(f"{program} " for program in PROGRAMS)):
            yield from ((number, argv) for _, argv in split(command))


def _ini(content: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """`Exec…=` of systemd and `command=` of supervisor, with `%%` read as these read it.

    A lone `%h` is the home directory in systemd (supervisor refuses it), which is no node name: the slash shows it.
    """
    joined = re.sub(r"\\\n", lambda _: "\0", content)  # a continued line keeps its number
    number = 1
    for line in joined.splitlines():
        if found := INI_COMMAND.match(line.replace("\0", " ")):
            words = re.sub(r"%(.)", lambda percent: "%" if percent[1] == "%" else "/" + percent[1], found[2])
            yield from ((number, argv) for _, argv in split(words))
        number += 1 + line.count("\0")


def _docker(content: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    joined = re.sub(r"\\\n", lambda _: "\0", content)
    number = 1
    for line in joined.splitlines():
        if found := DOCKER_COMMAND.match(line.replace("\0", " ")):
            words = found[1].strip()
            argvs = [tuple(json.loads(words))] if words.startswith("[") else [argv for _, argv in split(words)]
            yield from ((number, inner) for argv in argvs for inner in _unwrapped(list(argv)))
        number += 1 + line.count("\0")


def yaml_commands(content: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """`command` (with the `args` beside it), `entrypoint` and `test` of Compose and Kubernetes, at any depth."""
    todo: list[yaml.Node] = [node for node in yaml.compose_all(content, Loader=yaml.SafeLoader) if node is not None]
    seen: set[int] = set()
    while todo:
        node = todo.pop(0)
        if id(node) in seen:
            continue  # an alias
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            values = {key.value: value for key, value in node.value}
            todo += values.values()
            rest = _words(values.get("args"))
            for key in YAML_COMMANDS:
                if argv := _words(values.get(key)):
                    line = values[key].start_mark.line + 1
                    yield from ((line, inner) for inner in _unwrapped([*argv, *(rest if key == "command" else ())]))
            if rest and "command" not in values and "entrypoint" not in values:
                yield from ((values["args"].start_mark.line + 1, inner) for inner in _unwrapped(rest))


def _words(node: yaml.Node | None) -> list[str]:
    if isinstance(node, yaml.ScalarNode):
        return _tokens(node.value)
    return [item.value for item in node.value] if isinstance(node, yaml.SequenceNode) else []


def _unwrapped(argv: list[str]) -> Iterator[tuple[str, ...]]:
    """The commands inside `sh -c "…"` and behind Compose's `CMD` and `CMD-SHELL`, or the command itself."""
    if argv[:1] == ["CMD"]:
        argv = argv[1:]
    inner = argv[1:] if argv[:1] == ["CMD-SHELL"] else argv[2:] if argv[1:2] in (["-c"], ["-lc"]) else None
    if inner:
        yield from (found for _, found in split(inner[0]))
    elif plain := normal(argv):
        yield plain
