"""A page's project: the shop skeleton with the page's titled Python blocks written into it, in order.

A block for a file that exists already is appended to it. A block that begins with ``# Wrong:`` shows what not to do
and stays out. One that begins with ``# Celery 5.7+`` or ``# Django 6.0+``, and a line that ends with ``# 5.7+``, stay
out of environments below that version, where what they name must not exist; so does a block whose package is missing.

``prove`` runs pages in an environment and says of each claim, that is of each block, version note and step, how it
ended. tests/references/conftest.py makes test items of them, scripts/matrix.py rows of a table.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

from validate.document import Fence, parse

ROOT = Path(__file__).resolve().parents[2]
SKILL = ROOT / "skills" / "django-celery-expert"
SKELETON = Path(__file__).parent / "project"
PROBE = Path(__file__).parent / "probe.py"
FACTS = ROOT / "scripts" / "facts.py"
ABOUT_SETTINGS = {"configuration-guide.md", "production-deployment.md", "project"}  # these get `check --deploy`

FIRST_LINE = re.compile(r"# (Celery|Django) (\d+\.\d+)\+")
MARKED_LINE = re.compile(r"# (\d+\.\d+)\+\s*$")
SPANS = r"`[^`]+`(?:(?:,? and |, )`[^`]+`)*"
NOTE = re.compile(rf"({SPANS}) \(?(?:(Celery|Django) )?(\d+\.\d+)\+")  # `a` and `b` (5.7+)
SINCE = re.compile(r"\|(.*)\| (?:(Django) )?(\d+\.\d+) \|$")  # a row of a table with the column "since"
SPAN = re.compile(r"`([^`]+)`")
# A name, or a name with a value: `--concurrency auto`, `CELERY_X = 1`, `pydantic=True`, `task.delay_on_commit(pk)`.
NAMED = re.compile(r"(?:(--[a-z-]+)(?:[ =](.+))?|(?:task\.)?([a-zA-Z_][\w.]*)(?: ?= ?(.+)|\(.*\))?)")
FRAME = re.compile(r'File "([^"]+)", line (\d+)(?:, in (\S+))?')

FLOORED = {"celery", "kombu", "django"}
TASK_CALLS = {"shared_task", "task", "apply_async", "apply_async_on_commit", "retry"}

# Notes that the installed packages cannot bear out, each with what does. One that is no longer needed is a failure.
EXCEPTIONS = {
    ("SKILL.md", "result_compression"): "the name is older and did nothing before 5.7; the floor is that of the effect",
}


def shown(page: Path) -> Path:
    """The page's path as messages name it."""
    return page.relative_to(ROOT) if page.is_relative_to(ROOT) else page


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


@dataclass(frozen=True)
class Environment:
    """An interpreter with some release of Celery and Django."""

    name: str
    python: Path

    @cached_property
    def facts(self) -> dict:
        return json.loads(subprocess.run([self.python, FACTS], capture_output=True, check=True, text=True).stdout)

    def has(self, package: str, floor: str) -> bool:
        return version(self.facts["distributions"][package.lower()]) >= version(floor)

    @cached_property
    def missing(self) -> frozenset[str]:
        """Modules of the references' packages that this environment could not take."""
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        lacking = {re.match(r"[\w-]+", line)[0] for line in groups["references"]} - set(self.facts["distributions"])
        return frozenset(module for module, names in packages_distributions().items() if lacking & set(names))

    def knows(self, name: str) -> bool:
        """Whether the environment has the setting, option or module; settings are known with and without prefix."""
        facts = self.facts
        if name.startswith("-"):
            return any(name in options for options in facts["command-line options"].values())
        if "." in name:
            return _imports(self.python, f"import {name}")
        setting = name.lower().removeprefix("celery_")
        return setting in facts["settings"] or name in facts["task options"] or name in facts["Redis transport options"]

    def allows(self, code: str) -> bool:
        """Whether the environment has every setting, task option and import of the code."""
        nodes = list(ast.walk(ast.parse(code)))
        names = {node.id for node in nodes if isinstance(node, ast.Name) and node.id.startswith("CELERY_")}
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in TASK_CALLS:
                names |= {keyword.arg for keyword in node.keywords if keyword.arg}
        imports = {
            ast.unparse(node)
            for node in nodes
            if (isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in FLOORED)
            or (isinstance(node, ast.Import) and node.names[0].name.split(".")[0] in FLOORED)
        }
        return all(map(self.knows, names)) and all(_imports(self.python, statement) for statement in imports)

    def __str__(self) -> str:
        versions = self.facts["distributions"]
        return f"Celery {versions['celery']} with Django {versions['django']}"


@cache
def _imports(python: Path, statement: str) -> bool:
    """Whether nothing that the statement names is missing; that Django wants settings is no such thing."""
    code = f"import contextlib\nwith contextlib.suppress(Exception):\n  try: {statement}\n  except ImportError: exit(1)"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Claim:
    """Something on a page that an environment bears out or not."""

    page: Path
    line: int
    name: str

    @property
    def place(self) -> str:
        return f"{shown(self.page)}:{self.line}"


@dataclass(frozen=True)
class Step(Claim):
    """What Django is asked about the whole project."""


@dataclass(frozen=True)
class Note(Claim):
    """``name`` exists from the version on, and not before; with a value, the value does."""

    package: str
    floor: str
    value: bool

    def verdict(self, environment: Environment) -> Outcome:
        exists = environment.knows(self.name)
        package = "kombu" if self.name in environment.facts["Redis transport options"] else self.package
        expected = environment.has(package, self.floor)
        excepted = (self.page.name, self.name) in EXCEPTIONS
        if exists and not expected and self.value:
            return Outcome("value", "the name is older than the note, which is about its value")
        if (exists == expected) or (exists and excepted):
            return Outcome("checked" if exists == expected else "excepted")
        state = "exists" if exists else "does not exist"
        return Outcome("failed", f"{self.place}: {self.name} is said to be {package} {self.floor}+; it {state} here")


@dataclass(frozen=True)
class Outcome:
    """How a claim ended; ``failed`` comes with a message that begins with a place of the page."""

    kind: str  # executed, wrong, below, lacking; checked, value, excepted; passed; failed
    message: str = ""


@dataclass(frozen=True)
class Block(Claim):
    """A Python block."""

    fence: Fence

    @property
    def wrong(self) -> bool:
        return self.fence.content.startswith("# Wrong:")

    @property
    def floor(self) -> tuple[str, str] | None:
        found = FIRST_LINE.match(self.fence.content)
        return (found[1], found[2]) if found else None

    def lines(self, environment: Environment) -> Iterator[str]:
        """The block's lines; those that are marked with a version above the environment's are blank."""
        for line in self.fence.content.splitlines():
            marked = MARKED_LINE.search(line)
            yield line if not marked or environment.has("celery", marked[1]) else ""

    def static(self) -> str:
        """What is wrong with the block in itself."""
        if not (self.fence.title or "").endswith(".py"):
            return f'{self.place}: a Python block names its file: ```python title="app/file.py"'
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                compile(self.fence.content, str(self.page), "exec")
        except (SyntaxError, SyntaxWarning) as error:
            line = getattr(error, "lineno", None) or 1
            return f"{shown(self.page)}:{self.fence.file_line(line)}: {error}"
        return ""

    def outside(self, environment: Environment) -> Outcome | None:
        """Why the block is no part of the page's project in this environment."""
        if error := self.static():
            return Outcome("failed", error)
        if self.wrong:
            return Outcome("wrong")
        lacking = [name for name in environment.missing if re.search(rf"\b{name}\b", self.fence.content)]
        if lacking:
            return Outcome("lacking", ", ".join(lacking))
        if self.floor and not environment.has(*self.floor):
            if environment.allows(self.fence.content):
                return Outcome("failed", f"{self.place}: nothing in it needs {self.floor[0]} {self.floor[1]}")
            return Outcome("below", " ".join(self.floor))
        return None


def read(page: Path) -> str:
    return page.read_text() if page.is_file() else ""


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The page's Python blocks, in order."""
    fences = [fence for fence in parse(page.name, read(page)).fences if fence.language == "python"]
    return tuple(Block(page, fence.line, fence.title or "without a file", fence) for fence in fences)


@cache
def notes(page: Path) -> tuple[Note, ...]:
    """What the page says about versions, in prose, tables and at the ends of code lines, where it names something."""
    text = read(page)
    fences = parse(page.name, text).fences
    code = {n: fence for fence in fences for n in range(fence.line, fence.line + fence.content.count("\n") + 2)}
    found = []
    since = False  # inside a table whose last column says so
    for number, line in enumerate(text.splitlines(), 1):
        since = line.startswith("|") and (since or line.endswith("| since |"))
        if number in code:
            marked = MARKED_LINE.search(line) if code[number].language == "python" else None
            said = [(line[: marked.start()], "Celery", marked[1])] if marked else []
            spans = [(re.sub(r'^\s*"?(\w+).*', r"\1", code_line), *rest) for code_line, *rest in said]
        else:
            said = [SINCE.search(line)] if since else NOTE.finditer(line)
            spans = [(span, note[2] or "Celery", note[3]) for note in said if note for span in SPAN.findall(note[1])]
        for span, package, floor in spans:
            if named := NAMED.fullmatch(span):
                name, value = named[1] or named[3], named[2] or named[4]
                found.append(Note(page, number, name, package, floor, bool(value)))
    return tuple(found)


def steps(page: Path) -> tuple[Step, ...]:
    names = ["migrations", "migrate", "check --deploy" if page.name in ABOUT_SETTINGS else "check"]
    tests = [block.line for block in blocks(page) if block.name.endswith("tests.py")]
    return tuple(Step(page, 1, name) for name in names) + tuple(Step(page, line, "tests") for line in tests[:1])


def claims(page: Path) -> tuple[Claim, ...]:
    return blocks(page) + notes(page) + steps(page)


PAGES = [
    *(page for page in (ROOT / "README.md", SKILL / "SKILL.md") if blocks(page)),
    *sorted((SKILL / "references").glob("*.md")),
]


@dataclass
class Source:
    """Where the lines of the project's files come from."""

    folder: Path
    starts: dict[str, list[tuple[int, Block]]]  # of each file, by line

    @property
    def modules(self) -> list[str]:
        """The modules that the page wrote, its settings left out."""
        return [name for name in self._names() if not name.startswith("shop.settings")]

    @property
    def settings(self) -> list[str]:
        """The shop's own settings and the page's variants of them."""
        return ["shop.settings", *(name for name in self._names() if name.startswith("shop.settings_"))]

    def _names(self) -> list[str]:
        return [module(path) for path in self.starts]

    def block(self, path: str, line: int) -> tuple[Block, int] | None:
        """The block that a line of a file came from, and its line on the page."""
        for start, block in reversed(self.starts.get(path, [])):
            if line >= start:
                return block, block.fence.file_line(line - start + 1)
        return None

    def frames(self, traceback: str) -> list[tuple[str, int, str]]:
        """File, line and function of the project's frames, outermost first."""
        inside = []
        for path, line, function in FRAME.findall(traceback):
            if path.startswith(f"{self.folder}/"):
                inside.append((path.removeprefix(f"{self.folder}/"), int(line), function))
        return inside

    def translate(self, traceback: str) -> str:
        """The traceback with the page's lines in place of the project's."""

        def on_page(frame: re.Match[str]) -> str:
            found = self.block(frame[1].removeprefix(f"{self.folder}/"), int(frame[2]))
            if found is None:
                return frame[0]
            return frame[0].replace(f'"{frame[1]}", line {frame[2]}', f'"{found[0].page}", line {found[1]}')

        return FRAME.sub(on_page, traceback)


def build(page: Path, folder: Path, environment: Environment) -> Source:
    """Write the page's project into ``folder``."""
    shutil.copytree(SKELETON, folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"), dirs_exist_ok=True)
    source = Source(folder, {})
    for block in blocks(page):
        if block.outside(environment):
            continue
        path = folder / block.name
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in path.relative_to(folder).parents[:-1]:
            (folder / package / "__init__.py").touch()
        before = f"{path.read_text()}\n\n" if path.exists() else ""
        path.write_text(before + "\n".join([*block.lines(environment), ""]))
        source.starts.setdefault(block.name, []).append((before.count("\n") + 1, block))
    return source


def prove(pages: Iterable[Path], folder: Path, environment: Environment) -> dict[Path, dict[Claim, Outcome]]:
    """Run the projects of the pages, and that of the bare skeleton, and say of each claim how it ended."""
    longest_first = sorted(pages, key=lambda page: len(steps(page)), reverse=True)
    sources = {page: build(page, folder / page.stem, environment) for page in (SKELETON, *longest_first)}
    done = subprocess.run(
        [environment.python, "-W", "error::SyntaxWarning", PROBE, folder / "skeleton.sqlite3"],
        input=json.dumps([_job(page, source) for page, source in sources.items()]),
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the probe failed in {environment}\n{done.stderr}")
    outcomes = {}
    for page, source in sources.items():
        result = json.loads((source.folder / "result.json").read_text())
        outcomes[page] = {
            **{note: note.verdict(environment) for note in notes(page)},
            **_steps(page, source, result),
            **_blocks(page, source, environment, result),
        }
    return outcomes


def module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _job(page: Path, source: Source) -> dict:
    return {
        "folder": str(source.folder),
        "modules": source.modules,
        "settings": source.settings,
        "deploy": page.name in ABOUT_SETTINGS,
        "tests": any(step.name == "tests" for step in steps(page)),
    }


def _steps(page: Path, source: Source, result: dict) -> dict[Claim, Outcome]:
    outcomes = {}
    for step in steps(page):
        name = step.name.split()[0]
        errors = [f"{settings}: {source.translate(text)}" for settings, at, text in result["failures"] if at == name]
        if errors:
            outcomes[step] = Outcome("failed", f"{step.place}: {step.name} fails\n" + "\n".join(errors))
        elif name not in result["steps"]:
            outcomes[step] = Outcome("failed", f"{step.place}: {step.name} was not reached, see the page's blocks")
        else:
            outcomes[step] = Outcome("passed")
    return outcomes


def _blocks(page: Path, source: Source, environment: Environment, result: dict) -> dict[Claim, Outcome]:
    """A block was executed if its module was loaded, or came past it; a failure belongs to the innermost block."""
    blamed: dict[Block, Outcome] = {}
    stopped: dict[str, int] = {}
    for settings, step, traceback in result["failures"]:
        if step != "import":
            continue
        frames = source.frames(traceback)
        culprit = next((found for path, line, _ in reversed(frames) if (found := source.block(path, line))), None)
        text = f"{settings}: {source.translate(traceback)}"
        if culprit is None:
            return {block: Outcome("failed", f"{block.place}: not executed\n{text}") for block in blocks(page)}
        block, line = culprit
        reason = traceback.strip().splitlines()[-1]
        blamed.setdefault(block, Outcome("failed", f"{shown(page)}:{line}: {reason}\n{text}"))
        for path, at, function in frames:
            if function in ("<module>", ""):
                stopped[path] = min(at, stopped.get(path, at))
    where = ", ".join(block.place for block in blamed)
    outcomes: dict[Claim, Outcome] = {}
    for block in blocks(page):
        start = next((start for start, other in source.starts.get(block.name, []) if other is block), 0)
        loaded = module(block.name) in result["loaded"] and block.name not in stopped
        if outside := block.outside(environment):
            outcomes[block] = outside
        elif block in blamed:
            outcomes[block] = blamed[block]
        elif loaded or start < stopped.get(block.name, 0):
            outcomes[block] = Outcome("executed")
        else:
            outcomes[block] = Outcome("failed", f"{block.place}: not reached, as {where or 'the process'} fails")
    return outcomes
