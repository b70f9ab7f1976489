"""The queries that tell whether the description is found when it should be, and only then."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from stage import Stage

from evals import cli
from evals.cases import ROOT, every

QUERIES = json.loads((ROOT / "evals" / "triggers.json").read_text())


def test_half_should_trigger_in_both_parts() -> None:
    assert Counter((query["split"], query["should_trigger"]) for query in QUERIES) == {
        ("train", True): 7,
        ("train", False): 7,
        ("validation", True): 5,
        ("validation", False): 5,
    }


def test_each_is_a_query_of_its_own() -> None:
    assert all(query.keys() == {"query", "should_trigger", "split"} for query in QUERIES)
    texts = [query["query"] for query in QUERIES]
    assert len(set(texts)) == 24 and all(len(text) > 60 for text in texts)
    assert not set(texts) & {case.prompt for case in every()}


def test_the_word_alone_decides_nothing() -> None:
    """Some that should trigger do not name Celery, some near misses do, in both parts."""
    for split in ("train", "validation"):
        named = {
            expected: [
                "celery" in q["query"].lower()
                for q in QUERIES
                if q["split"] == split and q["should_trigger"] == expected
            ]
            for expected in (True, False)
        }
        assert not all(named[True]) and any(named[False]), split


def test_they_are_asked_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in reads the skill for all but two near misses and, wrongly, one that should trigger."""
    stage = Stage(tmp_path, "gemini", monkeypatch)
    words = stage.arguments(with_skill={"ignores": ["FastAPI", "potato", "Prometheus"]})[1:]
    assert cli.main(["triggers", *words, "--split", "validation", "--jobs", "4"]) == 0
    output = capsys.readouterr().out
    assert "validation: 6 of 10 queries as they should be" in output
    assert "read in 0%, should True: Set up Prometheus" in output
    result = stage.kept("triggers.json")
    assert result["summary"] == {"validation": {"passed": 6, "queries": 10}}
    assert sum(one["trigger_rate"] for one in result["results"]) == 7
    assert cli.main(["triggers", *words, "--split", "validation"]) == 0
    assert len(stage.starts) == 10
