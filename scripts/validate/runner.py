"""Parse every document once, run the checks, count what was looked at."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import checks as _checks  # noqa: F401  registers them
from .discover import MAX_TEXT, Tree, discover, markdown_files
from .document import Document, parse
from .findings import Finding
from .registry import Check, chosen

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

PARALLEL_FROM = 200  # documents; below that a second process costs more than it saves
BATCH = 64
Progress = Callable[[int, int], None]  # documents done, documents in all
Batch = tuple[Path, list[str], frozenset[str], bool]


@dataclass
class Result:
    """Findings in the order of files, and how many things of each kind were inspected."""

    findings: list[Finding] = field(default_factory=list)
    inspected: Counter[str] = field(default_factory=Counter)
    checks: list[Check] = field(default_factory=list)


def validate(
    root: Path,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    exclude: tuple[str, ...] = (),
    installed: bool = False,
    progress: Progress = lambda *_: None,
) -> Result:
    """Validate everything below ``root``; ``installed`` adds the checks of ``checks.names``, which must be imported.

    :raises CannotRun: where there is nothing to validate.
    """
    tree = discover(root, exclude)
    result = Result(checks=chosen(select, ignore, installed))
    local = [check for check in result.checks if check.asks == ("document",)]
    counting = any("inspected" in check.asks for check in result.checks)  # those read the text once more
    result.findings += _parse_all(tree, local, progress, keep_text=counting)
    for skill in tree.skills.values():
        skill.document = tree.documents.get(skill.path)
    # What the other checks find unreadable is reported too, so that check runs last.
    for check in sorted(result.checks, key=lambda check: check.id == "files/unreadable"):
        if check not in local:
            result.findings += _run(check, tree, result.inspected)
    result.findings = sorted(set(result.findings))
    result.inspected += _count(tree)
    return result


def _run(check: Check, tree: Tree, inspected: Counter[str]) -> list[Finding]:
    subject = check.asks[0]
    if subject == "tree":
        return list(check.run(".", tree=tree, inspected=inspected))
    things = {
        "document": tree.documents.values(),
        "skill": tree.skills.values(),
        "manifest": tree.manifests,
        "plugin": tree.plugins.values(),
    }[subject]
    findings: list[Finding] = []
    for thing in things:
        path = thing.manifests[0].path if subject == "plugin" else thing.path
        findings += check.run(path, **{subject: thing}, tree=tree, inspected=inspected)
    return findings


def _parse_all(tree: Tree, local: list[Check], progress: Progress, keep_text: bool) -> list[Finding]:
    """Parse the documents, in parallel where there are many, and run the checks that need nothing else."""
    paths = list(markdown_files(tree))
    parallel = len(paths) >= PARALLEL_FROM
    ids = frozenset(check.id for check in local)
    keep_text |= not parallel
    batches = [(tree.root, paths[at : at + BATCH], ids, keep_text) for at in range(0, len(paths), BATCH)]
    findings: list[Finding] = []
    with _pool() if parallel else nullcontext() as pool:
        results = pool.map(_inspect, batches) if pool else map(_inspect, batches)
        for documents, unread, found in results:
            tree.documents.update(documents)
            tree.unread.update(unread)
            findings += found
            progress(len(tree.documents) + len(tree.unread), len(paths))
    return findings


def _pool() -> ProcessPoolExecutor:
    """Worker processes, without garbage collection; forked where the platform can: the parser is imported once."""
    from concurrent.futures import ProcessPoolExecutor  # late: a small run does not need them
    from multiprocessing import get_context

    context = get_context("fork" if hasattr(os, "fork") else None)
    return ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=gc.disable)


def _inspect(batch: Batch) -> tuple[dict[str, Document], dict[str, str], list[Finding]]:
    """Parse a batch of files. One with the same text as an earlier one (a generated copy) is not parsed again."""
    root, paths, ids, keep_text = batch
    local = [check for check in chosen() if check.id in ids]
    documents: dict[str, Document] = {}
    unread: dict[str, str] = {}
    findings: list[Finding] = []
    seen: dict[str, tuple[Document, list[Finding]]] = {}
    for path in paths:
        try:
            text = _read(root / path)
            if text in seen:
                document, found = seen[text]
                documents[path] = replace(document, path=path)
                findings += [replace(finding, path=path) for finding in found]
                continue
            document = documents[path] = parse(path, text)
            found = [finding for check in local for finding in check.run(path, document=document)]
        except UnicodeDecodeError as error:
            unread[path] = f"is not UTF-8 (byte {error.start:,})"
        except OSError as error:
            unread[path] = f"cannot be read: {error.strerror}"
        except RecursionError:
            unread[path] = "is nested too deeply to parse"
        else:
            findings += found
            seen[text] = document, found
    if not keep_text:
        for document in documents.values():
            document.strip()
    return documents, unread, findings


def _read(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_TEXT:
        raise OSError(0, f"{size:,} bytes are more than the limit of {MAX_TEXT:,}")
    return path.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n")


def _count(tree: Tree) -> Counter[str]:
    count: Counter[str] = Counter()
    for document in tree.documents.values():
        count["headings"] += len(document.headings)
        count["links"] += len(document.links)
        for fence in document.fences:
            count[f"{fence.language or 'untagged'} fences"] += 1
    count["documents"] = len(tree.documents)
    count["skills"] = len(tree.skills)
    count["plugins"] = len(tree.plugins)
    count["manifests"] = len(tree.manifests)
    return count
