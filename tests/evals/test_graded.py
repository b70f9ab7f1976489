"""The record of the graders: of the cases as they stand, ten times each, and what is not steady is not kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evals.trial import Verdict
from stage import CASE, GRADER

from evals import cases, cli, graded

EVERY = cases.every()


@pytest.fixture
def case(tmp_path: Path) -> cases.Case:
    folder = tmp_path / "cases" / "greeting"
    for solution in ("good", "bad-curt", "bad-silent"):
        (folder / "solutions" / solution).mkdir(parents=True)
        (folder / "solutions" / solution / "greeting.py").write_text(f"# {solution}")
    (folder / "case.yaml").write_text(CASE)
    (folder / "grader.py").write_text(GRADER)
    return cases.load(folder)


def lines(case: cases.Case, times: int = graded.TIMES) -> list[graded.Line]:
    """Gradings as they should be."""
    return [
        graded.line(
            case,
            solution,
            [Verdict(criterion, criterion not in failed, f"turn {turn}") for criterion in case.criteria],
            turn,
            ["Redis 8"],
        )
        for turn in range(times)
        for solution, failed in case.solutions.items()
    ]


def test_every_grader_told_its_solutions_apart_ten_times() -> None:
    assert graded.stale(EVERY) == []
    record = graded.read()
    for case in EVERY:
        kept = record[case.name]["solutions"]
        assert kept.keys() == case.solutions.keys()
        for solution, failed in case.solutions.items():
            verdicts = kept[solution]["verdicts"]
            assert kept[solution]["times"] >= graded.TIMES == 10
            assert [criterion for criterion in verdicts if not verdicts[criterion]["passed"]] == failed
            assert all(verdict["evidence"] for verdict in verdicts.values())


def test_what_was_steady_is_kept(case: cases.Case, tmp_path: Path) -> None:
    kept = tmp_path / "graders.json"
    assert graded.stale([case], kept) == ["greeting: not recorded; run `make graders KEEP=1 CASE=greeting`"]
    assert graded.keep(lines(case), [case], kept) == (["greeting"], [])
    assert graded.stale([case], kept) == []
    record = graded.read(kept)["greeting"]
    assert record["solutions"]["bad-curt"] == {
        "times": 10,
        "seconds": 4.5,
        "verdicts": {
            "greets": {"passed": True, "evidence": "turn 9"},
            "polite": {"passed": False, "evidence": "turn 9"},
        },
    }
    assert record["versions"][-1] == "Redis 8"
    assert graded.stale([], kept) == ["greeting: there is no such case; delete it from the record"]
    assert graded.keep([], [], kept) == ([], [])
    assert graded.read(kept) == {}


@pytest.mark.parametrize("changed", ["grader.py", "files/greeting.py", "solutions/good/greeting.py"])
def test_a_case_that_changed_is_stale(changed: str, case: cases.Case, tmp_path: Path) -> None:
    kept = tmp_path / "graders.json"
    before = lines(case)
    graded.keep(before, [case], kept)
    (case.folder / changed).parent.mkdir(exist_ok=True)
    (case.folder / changed).write_text("# changed")
    assert graded.stale([case], kept) == [
        "greeting: changed since it was recorded; run `make graders KEEP=1 CASE=greeting`"
    ]
    assert graded.keep(before, [case], kept)[1] == ["greeting: was changed while it was graded; run it again"]


def test_what_is_not_steady_is_not_kept(case: cases.Case, tmp_path: Path) -> None:
    kept = tmp_path / "graders.json"
    nine = lines(case, 9)
    assert graded.keep(nine, [case], kept) == ([], ["greeting: good was graded 9 times, not 10"])
    once = lines(case)
    once[4]["verdicts"]["greets"]["passed"] = False
    assert graded.keep(once, [case], kept) == ([], ["greeting: bad-curt failed ['greets', 'polite'], not ['polite']"])
    assert graded.read(kept) == {}


def test_the_command_says_what_it_kept_and_what_not(
    case: cases.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(graded, "KEPT", tmp_path / "graders.json")
    monkeypatch.setattr(cases, "ROOT", tmp_path)
    written = tmp_path / "lines.jsonl"

    def keep(found: list[graded.Line]) -> int:
        written.write_text("".join(f"{json.dumps(line)}\n" for line in found))
        return cli.main(["keep", str(written), "--cases", str(case.folder.parent)])

    assert keep(lines(case)) == 0
    assert "1 cases kept" in capsys.readouterr().out
    assert keep(lines(case, 1)) == 1
    assert "good was graded 1 times, not 10; nothing of it is kept" in capsys.readouterr().err
    for wrong in ("{", "{}", json.dumps(lines(case)[0] | {"case": "other"})):
        written.write_text(wrong)
        assert cli.main(["keep", str(written), "--cases", str(case.folder.parent)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
