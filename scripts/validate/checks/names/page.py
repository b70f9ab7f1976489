"""A page as the names in it see it: its Python blocks as syntax trees, its code spans, and the prose between them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from textwrap import dedent

from ...document import CODE_SPAN, COMMENT, Fence, Text, parse
from ..fences import completed

WRONG = "# Wrong:"  # the first line of a block that shows what not to do: its names may be wrong, too
# "5.7+", "Django 6.0+", "since 5.5", and in a table a cell of its own: what stands beside it came with that version.
FLOORS = (
    re.compile(r"(?:\b(Celery|Django) )?(?<![\d.])(\d+)\.(\d+)\+"),
    re.compile(r"\b(?:from|since) (?:(Celery|Django) )?(\d+)\.(\d+)\b"),
    re.compile(r"\|\s*(?:(Celery|Django) )?(\d+)\.(\d+)\s*\|"),
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A name and where the file has it."""

    name: str
    line: int
    column: int = 1


@dataclass
class Code:
    """Python as a page shows it: a block, or (``inline``) a code span."""

    tree: ast.Module
    line: int  # of the file, of the code's first line
    column: int = 1
    inline: bool = False
    title: str | None = None
    nodes: list[ast.AST] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = list(ast.walk(self.tree))

    def at(self, node: ast.AST, name: str) -> Mention:
        column = node.col_offset + 1 if not self.inline else self.column
        return Mention(name, self.line + node.lineno - 1, column)

    def every(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in self.nodes if isinstance(node, kinds))

    @cached_property
    def imports(self) -> dict[str, str]:
        """What each imported name stands for: ``{"Q": "kombu.Queue"}``; not what the code binds again itself."""
        names: dict[str, str] = {}
        for node in self.every(ast.Import, ast.ImportFrom):
            for alias in node.names:
                if isinstance(node, ast.Import):
                    bound = alias.asname or alias.name.partition(".")[0]
                    names[bound] = alias.name if alias.asname else bound
                elif not node.level:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return {name: path for name, path in names.items() if name not in self._bound}

    @cached_property
    def _bound(self) -> set[str]:
        stored = {node.id for node in self.every(ast.Name) if isinstance(node.ctx, ast.Store)}
        return stored | {node.arg for node in self.every(ast.arg)}

    def dotted(self, node: ast.AST) -> str:
        """The full path of ``a.b.c``, through the imports; as it is written where ``a`` is not imported."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])

    def assignments(self) -> Iterator[tuple[ast.AST, ast.expr]]:
        """Each target with its value; ``a = b = 1`` gives two, a keyword of a span (`a=1`) one."""
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                yield from ((target, node.value) for target in node.targets)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                yield node.target, node.value
            elif isinstance(node, ast.keyword) and node.arg and self.inline and self.bare_call(node):
                yield ast.copy_location(ast.Name(node.arg), node), node.value

    def bare_names(self) -> Iterator[tuple[ast.AST, str]]:
        """The name that a span is, and the keys of a dictionary in it, where they are more than one word."""
        for node in self.nodes if self.inline else ():
            inner = [node.value] if isinstance(node, ast.Expr) else node.keys if isinstance(node, ast.Dict) else ()
            for item in inner:
                name = getattr(item, "id", None) or getattr(item, "value", None)
                if isinstance(name, str) and re.fullmatch(r"[a-z]+(?:_[a-z]+)+", name):
                    yield item, name

    def bare_call(self, keyword: ast.keyword) -> bool:
        """True for the keyword of a span that names no function: `max_retries=3`."""
        call = self.tree.body[0].value if isinstance(self.tree.body[0], ast.Expr) else None
        return isinstance(call, ast.Call) and keyword in call.keywords and getattr(call.func, "id", "") == "_"

    def constant(self, node: ast.AST) -> ast.expr | None:
        """The value of an expression, through one name that the code sets once."""
        if not isinstance(node, ast.Name):
            return node if isinstance(node, ast.expr) else None
        values = [value for target, value in self.assignments() if getattr(target, "id", None) == node.id]
        return values[0] if len(values) == 1 else None

    def strings(self) -> Iterator[ast.Constant]:
        return (node for node in self.every(ast.Constant) if isinstance(node.value, str))


@dataclass
class Page:
    """``lines`` are the page's, with the blocks that are wrong on purpose left empty."""

    lines: list[str]
    codes: list[Code]  # blocks and spans that parse
    spans: list[Text]
    fences: list[Fence]  # without those that are wrong on purpose
    held: set[str] = field(default_factory=set)  # the packages that lie in the validated folder

    @property
    def blocks(self) -> Iterator[Code]:
        return (code for code in self.codes if not code.inline)

    @property
    def own_packages(self) -> set[str]:
        """The packages of the project: those that the page writes (``title="orders/tasks.py"``) and those held."""
        return self.held | {re.split(r"[/.]", fence.title)[0] for fence in self.fences if fence.title}

    @cached_property
    def words(self) -> set[str]:
        """Every identifier and string of the page's blocks: names it made itself."""
        return {
            word
            for code in self.blocks
            for node in code.nodes
            for word in (getattr(node, slot, None) for slot in ("id", "attr", "arg", "name", "value"))
            if isinstance(word, str)
        }

    def newer(self, line: int) -> bool:
        """True where the line, or its block's first one, asks for a version above the installed one."""
        fence = next((f for f in self.fences if f.line < line <= f.line + f.content.count("\n")), None)
        text = self.lines[line - 1] + "\n" + (fence.content.partition("\n")[0] if fence else "")
        floors = (found.groups() for pattern in FLOORS for found in pattern.finditer(text))
        return any((int(major), int(minor)) > release(of or "Celery") for of, major, minor in floors)


@lru_cache
def release(distribution: str) -> tuple[int, int]:
    """The major and minor version installed."""
    major, minor, *_ = version(distribution).split(".")
    return int(major), int(re.match(r"\d+", minor)[0])


@lru_cache(maxsize=64)  # the generated copy of a skill is not read again
def read(text: str) -> Page:
    """Read the text of one document."""
    document = parse("", text)
    lines, prose = list(document.lines), list(document.lines)
    for fence in document.fences:
        for number in range(fence.line - 1, min(fence.line + fence.content.count("\n") + fence.closed, len(lines))):
            prose[number] = ""
            if fence.content.startswith(WRONG):
                lines[number] = ""
    fences = [fence for fence in document.fences if not fence.content.startswith(WRONG)]
    spans = list(_spans(prose))
    codes = [code for fence in fences if fence.language in ("python", "py", "python3") and (code := _block(fence))]
    return Page(lines, [*codes, *(code for span in spans if (code := _inline(span)))], spans, fences)


def _spans(lines: list[str]) -> Iterator[Text]:
    """The code spans of the prose; a table's, a heading's and a link's too."""
    prose = COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), "\n".join(lines))
    for found in CODE_SPAN.finditer(prose):
        ticks, start = len(found[1]), found.start()
        column = start - prose.rfind("\n", 0, start) + ticks
        yield Text(found[0][ticks:-ticks].strip(), prose.count("\n", 0, start) + 1, column)


def _block(fence: Fence) -> Code | None:
    text = dedent(fence.content)
    for attempt in (text, completed(text)):
        try:
            return Code(ast.parse(attempt), fence.line + 1, title=fence.title)
        except (SyntaxError, ValueError, RecursionError):
            continue
    return None


def _inline(span: Text) -> Code | None:
    """A code span as Python; `retry_backoff=30` as the keywords of a call of nothing, and … left out."""
    text = re.sub(r",\s*(?:…|\.\.\.)(?=\s*\))", "", span.content).replace("…", "...")
    attempts = (text, f"{{{text}}}", text.lstrip("@."))
    for attempt in (f"_({text})", *attempts) if re.match(r"\w+=[^=]", text) else attempts:
        try:
            return Code(ast.parse(attempt), span.line, span.column, inline=True)
        except (SyntaxError, ValueError, RecursionError):
            continue
    return None
