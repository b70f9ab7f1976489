"""scripts/evidence.py: what a run of the proofs leaves behind."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import evidence
import pytest
from documentation import evidence as shown

LINE = {
    "proof": "tests/proofs/test_x.py::test_a[redis]",
    "claim": "It holds.",
    "sections": ["error-handling#retry"],
    "versions": ["Celery 5.7.0"],
    "outcome": "held",
    "seconds": 1.5,
    "figures": {"runs": 3},
}


def lines(*changes: dict) -> list[dict]:
    return [LINE | change for change in changes]


def test_variants_are_runs_of_one_proof() -> None:
    kept = evidence.record(lines({"proof": "test_x.py::test_a[redis]"}, {"proof": "test_x.py::test_a[rabbitmq]"}))
    (proof,) = kept["proofs"]
    assert proof["proof"] == "test_x.py::test_a"
    assert [run["variant"] for run in proof["runs"]] == ["rabbitmq", "redis"]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seconds": 9, "figures": {}, "versions": []}, False),
        ({"outcome": "failed"}, True),
        ({"claim": "It holds mostly."}, True),
        ({"sections": []}, True),
        ({"proof": "tests/proofs/test_x.py::test_a[rabbitmq]"}, True),
    ],
)
def test_what_counts_as_a_difference(change: dict, differs: bool) -> None:
    assert bool(evidence.differences(evidence.record(lines({})), evidence.record(lines(change)))) == differs


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    monkeypatch.setattr(evidence, "KEPT", tmp_path / "docs" / "evidence.json")
    run = tmp_path / "run.jsonl"
    run.write_text(json.dumps(LINE) + "\n")
    assert evidence.main([str(run), "--check"]) == 2  # nothing is kept yet
    assert evidence.main([str(run)]) == 0
    assert evidence.main([str(run), "--check"]) == 0
    run.write_text(json.dumps(LINE | {"outcome": "failed"}) + "\n")
    assert evidence.main([str(run), "--check"]) == 1
    assert "test_a is not as recorded; run `make proofs`" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "{}", None])
def test_unreadable_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
    run = tmp_path / "run.jsonl"
    if content is not None:
        run.write_text(content)
    assert evidence.main([str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_kept_record_is_of_these_proofs() -> None:
    """A proof that was added, renamed or reworded since is one that nobody has run."""
    written = {}
    for file in sorted((evidence.ROOT / "tests" / "proofs").glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                marks = [ast.unparse(each) for each in node.decorator_list]
                sections = sorted(ast.literal_eval(m.partition("proves")[2]) for m in marks if "mark.proves(" in m)
                if sections:
                    claim = " ".join((ast.get_docstring(node) or "").split())
                    written[f"tests/proofs/{file.name}::{node.name}"] = (claim, sections)
    kept = json.loads(evidence.KEPT.read_text())["proofs"]
    assert {proof["proof"]: (proof["claim"], proof["sections"]) for proof in kept} == written


def proven() -> set[str]:
    """The sections that a proof names."""
    files = (evidence.ROOT / "tests" / "proofs").glob("test_*.py")
    return {name for file in files for name in re.findall(r'mark\.proves\("([^"]+)"\)', file.read_text())}


def test_every_section_has_evidence() -> None:
    sections, named = {section.name for section in shown.sections()}, shown.documented()
    print(f"{len(proven() & sections)} of {len(sections)} sections have a proof, {len(named)} rest on documentation")
    assert sections - proven() - named.keys() == set()


def test_no_evidence_for_what_is_not_there() -> None:
    sections = {section.name for section in shown.sections()}
    assert proven() - sections == set()
    assert shown.documented().keys() - sections == set()


def test_documentation_is_named_only_where_nothing_is_proven() -> None:
    assert shown.documented().keys() & proven() == set()
    for section, entry in shown.documented().items():
        assert entry.keys() == {"source", "why"}, section
        assert entry["source"].startswith("https://"), section
