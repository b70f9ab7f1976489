"""The cases as data: they load and are whole, name sections that exist, and cost no more than the ceiling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evals.trial import Servers, Trial

from evals import cases, cli, formats, sizes

EVERY = cases.every()
PAGES = {path.stem for path in (formats.SKILL / "references").glob("*.md")}
AT_LEAST = 16


def test_there_are_cases() -> None:
    assert len(EVERY) >= AT_LEAST
    assert len({case.prompt for case in EVERY}) == len(EVERY)


def test_half_of_the_prompts_do_not_name_the_remedy_and_some_not_celery() -> None:
    assert sum(not case.about["names_remedy"] for case in EVERY) >= len(EVERY) / 2
    assert sum(not case.about["names_celery"] for case in EVERY) >= len(EVERY) / 4


def test_the_cases_are_of_all_pages() -> None:
    named = {reference.partition("#")[0] for case in EVERY for reference in case.about["references"]}
    assert named == PAGES


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_a_case_is_whole(case: cases.Case, tmp_path: Path) -> None:
    good = [name for name, failed in case.solutions.items() if not failed]
    assert good and len(case.solutions) - len(good) >= 2
    assert all(name.startswith("good") == (name in good) for name in case.solutions)
    for failed in case.solutions.values():
        assert failed == [criterion for criterion in case.criteria if criterion in failed]  # known, in the case's order
    assert callable(case.grade)
    user = {path.relative_to(tmp_path / "user"): path.read_bytes() for path in _files(case.write(tmp_path / "user"))}
    for solution in case.solutions:
        folder = tmp_path / solution
        done = {path.relative_to(folder): path.read_bytes() for path in _files(case.write(folder, solution))}
        assert done != user, f"{solution} changes nothing"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_what_a_prompt_says_of_itself(case: cases.Case) -> None:
    assert case.about["names_celery"] == ("celery" in case.prompt.lower())
    assert "django-celery-expert" not in case.prompt and "skill" not in case.prompt.lower()


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_a_case_names_sections_that_exist(case: cases.Case) -> None:
    for reference in case.about["references"]:
        assert sizes.section(reference).startswith("#"), reference


def test_what_is_generated_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", "--check"]) == 0, capsys.readouterr().out


def test_the_ceiling_holds_and_can_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes.over(EVERY) == []
    monkeypatch.setattr(sizes, "CEILING", 1_800)
    assert len(sizes.over(EVERY)) == len(EVERY)


def test_skill_md_leads_to_what_a_case_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes.astray(EVERY) == []
    monkeypatch.setattr(sizes, "named", lambda: frozenset({"error-handling#lost-workers"}))
    lost = next(case for case in EVERY if case.name == "import-kills-worker")
    assert sizes.astray([lost]) == [
        "import-kills-worker: nothing on its way from SKILL.md leads to error-handling#poison-messages"
    ]


def test_topics_of_skill_md_are_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"task-design-patterns#cancel-a-task", "error-handling#payments"} <= sizes.named()
    sizes.named.cache_clear()
    monkeypatch.setattr(sizes, "page", lambda name: "## Something else")
    with pytest.raises(cases.BadCase, match="has no section with 'call' in its heading"):
        sizes.named()
    monkeypatch.undo()


def test_a_section_ends_where_the_next_begins() -> None:
    text = sizes.section("task-design-patterns#idempotency")
    assert text.splitlines()[0] == "## Idempotency"
    assert text.count("\n## ") == 0 and sizes.page("task-design-patterns").count(text) == 1
    for wrong in ("task-design-patterns#nowhere", "nothing#idempotency"):
        with pytest.raises(cases.BadCase, match=wrong):
            sizes.section(wrong)


def test_the_format_of_agent_skills() -> None:
    made = json.loads(formats.EVALS_JSON.read_text())
    assert made["skill_name"] == formats.SKILL.name
    assert [one["id"] for one in made["evals"]] == list(range(1, len(EVERY) + 1))
    for one, case in zip(made["evals"], EVERY, strict=True):
        assert one["prompt"] == case.prompt and one["assertions"] == list(case.criteria.values())
        assert one["files"] and all((cases.ROOT / file).exists() for file in one["files"])


def test_a_case_that_is_out_of_order_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cases" / "broken"
    folder.mkdir(parents=True)
    for text, says in (
        ("prompt: [", "while parsing"),
        ("prompt: please help me with this", "is a required property"),
        ("[]", "is not of type 'object'"),
    ):
        (folder / "case.yaml").write_text(text)
        assert cli.main(["list", "--cases", str(folder.parent)]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1, error


def test_a_solution_that_is_not_named_is_told(tmp_path: Path) -> None:
    folder = tmp_path / EVERY[0].name
    (folder / "solutions" / "bad-unnamed").mkdir(parents=True)
    (folder / "case.yaml").write_text((EVERY[0].folder / "case.yaml").read_text())
    with pytest.raises(cases.BadCase, match="bad-unnamed"):
        cases.load(folder)


def test_a_project_can_be_written_and_graded_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = EVERY[0].name
    assert cli.main(["write", name, str(tmp_path / "shop"), "--solution", next(iter(EVERY[0].solutions))]) == 0
    assert (tmp_path / "shop" / "manage.py").is_file()
    assert cli.main(["write", name, str(tmp_path / "shop"), "--solution", "none"]) == 2
    assert cli.main(["grade", name, str(tmp_path / "nowhere")]) == 2
    assert "it has" in (error := capsys.readouterr().err) and "is no folder" in error


def test_what_an_assistant_leaves_out_has_no_text(tmp_path: Path) -> None:
    with Servers() as servers, Trial(tmp_path, servers) as trial:
        assert trial.text("orders/tasks.py") == ""
