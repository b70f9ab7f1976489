"""Fenced blocks are what they say they are, and parse."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import yaml

from ..discover import Tree, strict_json
from ..document import SHELL, Document, Fence
from ..findings import Problem
from ..frontmatter import Loader
from ..registry import check

# The languages that a near miss is compared with.
COMMON = {"bash", "console", "css", "docker", "html", "ini", "javascript", "json", "python", "shell", "sql", "text"}
COMMON |= {"toml", "typescript", "yaml"}
MAX_DEPTH = 100  # of a YAML block: the parser's time grows with the square of the nesting
PLACEHOLDER = re.compile(r"<[A-Za-z][\w .:/|,'-]*>")
# A block that leaves something out, or is filled in by a template engine, is not meant to parse.
ABBREVIATED = re.compile(r"\.\.\.|…|\{\{|\{%|<[A-Za-z][\w .-]*>|\$\{")
# An example of what not to do may be broken on purpose.
DECLARED_WRONG = re.compile(r"❌|(?:#|//)\s*(?:INVALID|WRONG|BAD|BROKEN)\b")
SYNTAX_3_12 = re.compile(r"^[ \t]*(?:type \w+(?:\[.*\])? =|(?:async )?(?:def|class) \w+\[)", re.MULTILINE)
EXCERPT = 20_000  # characters; a longer block is no excerpt, and these patterns are slow on hostile input
PYTHON_PLACEHOLDER = re.compile(r"\$\{[^}\n]*\}|\{\{[^}\n]*\}\}|<[a-zA-Z][\w -]*>")
SIGNATURE = re.compile(r"[A-Za-z_][\w.]*\((?:[^()]|\([^()]*\))*\)(?:\s*->[^\n]+?)?:?", re.DOTALL)
INNER_LINE = re.compile(r" \(detected at line \d+\)| on line \d+")
JSON_BLANK = re.compile(r"\{[A-Z][A-Z_]+\}|:\s*[A-Z][A-Z_]*\s*[,}\n]")  # {NAME}, or `"total": N`, to be filled in
JSON_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|(//[^\n]*|/\*.*?\*/)', re.DOTALL)
PLAIN_SHELL = re.compile(r"[\w ./:=@%+,~^-]*(?:[ \t]#.*)?")
SHELL_WORDS = re.compile(
    r"^\s*(?:if|then|elif|else|fi|for|while|until|do|done|case|esac|select|function|time|coproc)\b", re.MULTILINE
)
HEREDOC = re.compile(r"(?<!<)<<-?\s*[\\'\"]?(\w+)")
COMMENT_LINE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)  # alone in a loop or branch it is no command
FENCE_MARKER = re.compile(r"`{3,}|~{3,}")
INNER_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*\w[^`\n]*$", re.MULTILINE)
BATS = re.compile(r"^@test ", re.MULTILINE)  # a test framework's dialect, commonly fenced as bash
# Between two snippets: fine for a shell that reads commands, an error inside an open quote of either kind.
BARRIER = """: ')(' ")("\n"""


@cache
def languages() -> frozenset[str]:
    """Every name under which a common highlighter knows a language, in lower case."""
    lines = Path(__file__).parents[1].joinpath("languages.txt").read_text().splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def of(document: Document, *names: str) -> Iterator[Fence]:
    return (fence for fence in document.fences if fence.language in names)


@check("fences/unclosed")
def unclosed(document: Document) -> Iterator[Problem]:
    """A fence is never closed.

    Why: everything after it becomes code, in the renderer and in the assistant's eyes.
    Mend: Close it with as many back-ticks or tildes as opened it, alone on a line.

    Bad:
        === SKILL.md +
        ```python
        a = 1
    Bad:
        === SKILL.md +
        ````text
        a
        ```
    Good:
        === SKILL.md +
        ~~~text
        ```
        ~~~
        - ```text
          a
          ```
    """
    for fence in document.fences:
        if not fence.closed:
            yield Problem(f"the fence {fence.info!r} is never closed", fence.line)


@check("fences/nested")
def nested(document: Document) -> Iterator[Problem]:
    """A fence holds the opening of another that is fenced alike.

    Why: the inner block's end closes the outer one, and what follows changes from text to code or back.
    Mend: Give the outer fence more back-ticks than the inner one.

    Bad:
        === SKILL.md +
        ```markdown
        # Report
        ```python
        a = 1
        ```
        ```
    Good:
        === SKILL.md +
        ````markdown
        # Report
        ```python
        a = 1
        ```
        ````
    """
    for fence in document.fences:
        if "```" not in fence.content and "~~~" not in fence.content:
            continue
        marker = FENCE_MARKER.search(document.lines[fence.line - 1])
        for inner in INNER_FENCE.finditer(fence.content) if fence.closed and marker else ():
            if inner[1].startswith(marker[0]):
                line = fence.content.count("\n", 0, inner.start()) + 1
                yield Problem(f"the fence {fence.info!r} holds the opening {inner[0].strip()!r}", fence.file_line(line))
                break


@check("fences/unknown-language", "warning")
def unknown_language(document: Document) -> Iterator[Problem]:
    """A fence names a language that no highlighter knows, often a typing error.

    Why: it is shown without colour, and the checks for the language that was meant pass it by.
    Mend: Spell the language as the highlighters do; use `text` for none.

    Bad:
        === SKILL.md +
        ```pyhton
        a = 1
        ```
    Bad:
        === SKILL.md +
        ```quux
        a
        ```
    Good:
        === SKILL.md +
        ```python title="a.py"
        a = 1
        ```
        ```{.python}
        a = 1
        ```
        ```
        a
        ```
    """
    for fence in document.fences:
        name = fence.language
        if name and name not in languages():
            import difflib  # late: most runs do not need it, and starting is most of a small one

            close = difflib.get_close_matches(name, languages() & COMMON, 1, 0.75)
            yield Problem(f"{name!r} is no known language{f'; {close[0]!r}?' if close else ''}", fence.line)


@check("fences/python")
def python(document: Document) -> Iterator[Problem]:
    """A Python block does not parse.

    Why: an assistant copies it, mistake and all.
    Mend: Correct the code; use `pycon` for a session with prompts and `text` for what is no Python.

    Bad:
        === SKILL.md +
        ```python
        INSTALLED_APPS = [
            ...
            "orders",
        ]
        def f(:
        ```
    Bad:
        === SKILL.md +
        > 1. a
        >
        >    ~~~py title="a.py"
        >    print "a"
        >    ~~~
    Bad:
        === SKILL.md +
        ```python
        services:
          web:
            image: shop
        ```
    Good:
        === SKILL.md +
        ```python
        async with lock:
            await f(...)
        type Name = str
        ```
        ```python
        def pack(box: Box, *, fast: bool = False) -> bool
        ```
        <!--
        ```python
        not python
        ```
        -->
        ````markdown
        ```python
        not python
        ```
        ````
    """
    for fence in of(document, "python", "py", "python3"):
        error = python_error(dedent(fence.content))
        if error and (on_purpose(fence.content) or not python_error(completed(dedent(fence.content)))):
            continue
        if isinstance(error, SyntaxError):
            message = INNER_LINE.sub("", error.msg)
            yield Problem(f"no Python: {message}", fence.file_line(error.lineno or 1), max(error.offset or 1, 1))
        elif error:
            yield Problem(f"no Python: {error or 'nested too deeply'}", fence.line)


def on_purpose(code: str) -> bool:
    """True for code that says it is wrong, and for syntax newer than the Python that runs this."""
    return bool(DECLARED_WRONG.search(code) or (sys.version_info < (3, 12) and SYNTAX_3_12.search(code)))


def python_error(code: str) -> Exception | None:
    """Why the code does not parse, if it does not; ``await`` and ``return`` may stand at the top, as in an excerpt."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return error
    return None


def completed(code: str) -> str:
    """The code with what documentation leaves out put in: placeholders, bodies, the `def` of a bare signature."""
    if len(code) > EXCERPT:
        return code
    code = PYTHON_PLACEHOLDER.sub("placeholder", code)
    code = re.sub(r",\s*\.\.\.(?=\s*\))", "", code)  # f(a=1, ...)
    code = re.sub(r"(?m)^[ \t]*(?:%{1,2}\w|!).*$", "", code)  # a notebook's magic
    code = re.sub(r"(?m)^([ \t]*(?:async )?def \w+\([^()]*\)(?:[ \t]*->[^:\n]+)?)[ \t]*$", r"\1: ...", code)
    code = re.sub(
        r"(?m)^([ \t]*)(\S.*:)[ \t]*(#.*)?\n(?=(?:[ \t]*(?:#.*)?\n)*(?:\1\S|(?!\1)|\Z))", r"\1\2 pass\n", code
    )
    parts = re.split(r"\n(?=\n|\w)", code)
    return "\n".join(_definition(part) if SIGNATURE.fullmatch(part.strip()) else part for part in parts)


def _definition(signature: str) -> str:
    name, bracket, rest = signature.strip().partition("(")
    return f"def {name.replace('.', '_')}{bracket}{rest.rstrip(':')}: ..."


@check("fences/json")
def json_block(document: Document) -> Iterator[Problem]:
    """A JSON block does not parse.

    Why: a configuration that is copied from it is refused. A block that leaves
    something out (`...`, `<name>`) is passed.
    Mend: Correct it; use `jsonc` for JSON with comments and `jsonl` for one value a line.

    Bad:
        === SKILL.md +
        ```json
        {"a": 1,}
        ```
    Bad:
        === SKILL.md +
        ```json
        {"a": 1, "a": 2}
        ```
    Good:
        === SKILL.md +
        ```json
        {"a": [1, 2], "b": null}
        ```
        ```json
        {"a": ...}
        ```
        ```json
        "a": 1,
        "b": {"c": 2}
        ```
    """
    for fence in of(document, "json"):
        if not fence.content.strip():
            continue
        try:
            strict_json(fence.content)
        except json.JSONDecodeError as error:
            if not (ABBREVIATED.search(fence.content) or JSON_BLANK.search(fence.content)) and not (
                DECLARED_WRONG.search(fence.content) or commented_json(fence.content) or json_members(fence.content)
            ):
                yield Problem(f"no JSON: {error.msg}", fence.file_line(error.lineno), error.colno)
        except (ValueError, RecursionError) as error:
            yield Problem(f"no JSON: {str(error) or 'nested too deeply'}", fence.line)


def json_members(text: str) -> bool:
    """True for the members of an object without its braces, which is how a part of a file is often shown."""
    try:
        json.loads(f"{{{text.strip().rstrip(',')}}}")
    except (ValueError, RecursionError):
        return False
    return True


def commented_json(text: str) -> bool:
    """True for JSON with comments: right once they are taken out."""
    if len(text) > EXCERPT:
        return False
    bare = JSON_COMMENT.sub(lambda found: "" if found[1] else found[0], text)
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return bare != text


@check("fences/json-comments", "warning")
def json_comments(document: Document) -> Iterator[Problem]:
    """A JSON block has comments.

    Why: standard JSON has none; a configuration that is copied with them is refused by most readers.
    Mend: Tag the block `jsonc` where the reader allows comments; otherwise move them into the text.

    Bad:
        === SKILL.md +
        ```json
        {"a": 1} // the first
        ```
    Good:
        === SKILL.md +
        ```jsonc
        {"a": 1} // the first
        ```
        ```json
        {"a": "https://example.org/"}
        ```
    """
    for fence in of(document, "json"):
        if "//" in fence.content or "/*" in fence.content:
            try:
                json.loads(fence.content)
            except (ValueError, RecursionError):
                if commented_json(fence.content):
                    yield Problem("JSON with comments", fence.line)


@check("fences/yaml")
def yaml_block(document: Document) -> Iterator[Problem]:
    """A YAML block does not parse.

    Why: a configuration that is copied from it is refused. A block that leaves something out
    or is a template is passed.
    Mend: Correct it; quote a value that holds `: ` or begins with a special character.

    Bad:
        === SKILL.md +
        ```yaml
        a: b: c
        ```
    Bad:
        === SKILL.md +
        ```yml
        a: [1
        ```
    Good:
        === SKILL.md +
        ```yaml
        a: "b: c"
        ---
        - !custom {a: 1}
        ```
        ```yaml
        a: {{ value }}
        ```
    """
    for fence in of(document, "yaml", "yml"):
        depth = 0
        try:
            for event in yaml.parse(fence.content, Loader=Loader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > MAX_DEPTH:
                    raise ValueError("nested too deeply")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if not (ABBREVIATED.search(fence.content) or DECLARED_WRONG.search(fence.content)):
                yield Problem(f"no YAML: {error.problem}", fence.file_line(mark.line + 1), mark.column + 1)
        except (yaml.YAMLError, ValueError) as error:
            yield Problem(f"no YAML: {str(error).splitlines()[0]}", fence.line)


@check("fences/toml")
def toml_block(document: Document) -> Iterator[Problem]:
    """A TOML block does not parse.

    Why: a configuration that is copied from it is refused. A block that leaves something out is passed.
    Mend: Correct it.

    Bad:
        === SKILL.md +
        ```toml
        [a
        ```
    Good:
        === SKILL.md +
        ```toml
        [a]
        b = 1
        ```
    """
    for fence in of(document, "toml"):
        try:
            tomllib.loads(fence.content)
        except ValueError as error:  # TOMLDecodeError, and that of a number beyond reason
            if not ABBREVIATED.search(fence.content):
                yield Problem(f"no TOML: {error}", fence.line)
        except RecursionError:
            yield Problem("no TOML: nested too deeply", fence.line)


@check("fences/ini")
def ini_block(document: Document) -> Iterator[Problem]:
    """An INI, systemd or supervisor block does not parse.

    Why: the service that is set up from it does not start. A block that leaves something out is passed.
    Mend: Correct it; every line belongs to a `[section]`.

    Bad:
        === SKILL.md +
        ```ini
        [Service
        ExecStart=/bin/true
        ```
    Bad:
        === SKILL.md +
        ```ini
        [Service]
        no equals sign
        ```
    Good:
        === SKILL.md +
        ```ini
        ; a comment
        [Service]
        Environment=A=1
        Environment=B=2
        ExecStart=/bin/sh -c '\\
            true'
        ```
    """
    for fence in of(document, "ini", "systemd"):
        import configparser  # late: most runs do not need it, and starting is most of a small one

        parser = configparser.RawConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
        text = fence.content if re.search(r"^\[", fence.content, re.MULTILINE) else f"[block]\n{fence.content}"
        text = re.sub(r"\\\n\s*", "", text)
        try:
            parser.read_string(text)
        except configparser.Error as error:
            if not ABBREVIATED.search(fence.content):
                yield Problem(f"no INI: {error.message.splitlines()[0]}", fence.line)


@check("fences/shell")
def shell(tree: Tree) -> Iterator[Problem]:
    """A shell block does not parse (`bash -n`; nothing is run).

    Why: the command that is copied from it fails, or does half of its work. `<placeholders>` and lines with nothing but
    words are passed.
    Mend: Correct it; use `console` for a session with prompts and output, `text` for what is no shell.

    Bad:
        === SKILL.md +
        ```bash
        if true; then echo a
        ```
    Bad:
        === SKILL.md +
        ```sh
        echo "a
        ```
        ```sh
        echo "b
        ```
    Good:
        === SKILL.md +
        ```bash
        celery -A shop worker --concurrency=2  # it's fine
        git clone <repository> && cd "$(basename <repository>)"
        cat <<EOF
        it's fine
        EOF
        for q in a b; do
            echo "$q"
        done
        ```
    """
    if not (bash := shutil.which("bash")):
        return
    blocks = [
        (path, fence, COMMENT_LINE.sub(":", PLACEHOLDER.sub("PLACEHOLDER", fence.content)))
        for path, document in tree.documents.items()
        for fence in of(document, *SHELL)
    ]
    doubtful = [block for block in blocks if not _plainly_fine(block[2]) and not BATS.search(block[2])]
    alone = [block for block in doubtful if _open_heredoc(block[2])]
    together = [block for block in doubtful if not _open_heredoc(block[2])]
    for path, fence, code in alone + _suspects(bash, together):
        if error := bash_error(bash, code):
            line, message = error
            yield Problem(f"no shell: {message}", fence.line + line, path=path)


def _plainly_fine(code: str) -> bool:
    """True where a look is enough: words only, no quote, keyword, bracket or operator."""
    return not SHELL_WORDS.search(code) and all(PLAIN_SHELL.fullmatch(line) for line in code.split("\n"))


def _open_heredoc(code: str) -> bool:
    """True for a here-document without its last line, which would swallow the blocks that follow."""
    words = HEREDOC.finditer(code)
    return any(not re.search(rf"^\t*{word[1]}$", code[word.end() :], re.MULTILINE) for word in words)


def _suspects(bash: str, blocks: list[tuple[str, Fence, str]]) -> list[tuple[str, Fence, str]]:
    """The blocks that may be wrong: one shell reads all of them, halves are looked at only where it complains."""
    if len(blocks) <= 1:
        return blocks
    together = "".join(f"(:\n{code}\n)\n{BARRIER}" for _, _, code in blocks)
    if bash_error(bash, together) is None:
        return []
    middle = len(blocks) // 2
    return _suspects(bash, blocks[:middle]) + _suspects(bash, blocks[middle:])


def bash_error(bash: str, code: str) -> tuple[int, str] | None:
    """The line (from 1) and the message of the first syntax error; an unfinished here-document counts as one."""
    try:
        done = subprocess.run(
            [bash, "-n"], input=code.encode(), capture_output=True, timeout=20, env={"LC_ALL": "C"}, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "bash needs more than 20 seconds to read it"
    complaint = done.stderr.decode(errors="replace").strip()
    if not complaint:
        return None
    found = re.search(r"line (\d+): (.*)", complaint)
    begun = re.search(r"here-document at line (\d+)", complaint) or found
    return (int(begun[1]), found[2]) if found else (1, complaint.splitlines()[0])
