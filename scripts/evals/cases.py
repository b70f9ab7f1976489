"""The cases: what a user asks, the project they ask it in, and the program that grades the result."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from .trial import Trial, Verdict

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "evals" / "cases"
SKELETON = ROOT / "tests" / "references" / "project"
SCHEMA = Path(__file__).with_name("case.schema.json")
LEAVE = shutil.ignore_patterns("__pycache__", "*.sqlite3", "expect.yaml")


class BadCase(Exception):
    """A case cannot be used; the message is one line that says which, what and how to mend it."""


@dataclass(frozen=True)
class Case:
    """One request, in ``evals/cases/NAME``."""

    folder: Path
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def prompt(self) -> str:
        return self.about["prompt"].strip()

    @property
    def criteria(self) -> dict[str, str]:
        """What a good result shows: id → sentence."""
        return self.about["criteria"]

    @property
    def solutions(self) -> dict[str, list[str]]:
        """The solutions that the grader is tested with, and the criteria that each fails."""
        return self.about["solutions"]

    def write(self, folder: Path, solution: str = "") -> Path:
        """The project as the user has it, or as a solution leaves it, in ``folder``."""
        shutil.copytree(SKELETON, folder, ignore=LEAVE, dirs_exist_ok=True)
        overlays = [self.folder / "files", *([self.folder / "solutions" / solution] if solution else [])]
        for overlay in overlays:
            if overlay.is_dir():
                shutil.copytree(overlay, folder, ignore=LEAVE, dirs_exist_ok=True)
        return folder

    @cached_property
    def grade(self) -> Callable[[Trial], Iterable[Verdict]]:
        """The case's grader."""
        path = self.folder / "grader.py"
        spec = importlib.util.spec_from_file_location(f"grader_of_{self.name.replace('-', '_')}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise BadCase(f"{path}: not found; write the grader")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.grade


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text()))


def load(folder: Path) -> Case:
    """The case of a folder."""
    path = folder / "case.yaml"
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BadCase(f"{path}: {' '.join(str(error).split())}") from None
    for error in _validator().iter_errors(about):
        raise BadCase(f"{path}: {'.'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message}")
    case = Case(folder, about)
    kept = {path.name for path in (folder / "solutions").glob("*/")}
    if kept != case.solutions.keys():
        raise BadCase(f"{path}: solutions: names {sorted(case.solutions)}, the folder holds {sorted(kept)}")
    return case


def every(folder: Path = CASES) -> list[Case]:
    """All cases, by name."""
    return [load(path.parent) for path in sorted(folder.glob("*/case.yaml"))]
