"""The runner, end to end with scripted stand-ins: three arms, isolation, contamination, going on, the sums."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import standin
from servers import Redis
from stage import CURT, GOOD, GRADER, SILENT, SKILL, Stage
from waiting import until

from evals import cli, report
from evals.cases import ROOT

MakeStage = Callable[..., Stage]
Capture = pytest.CaptureFixture[str]
TELLS_THE_COST = {"claude", "opencode"}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, "claude", monkeypatch)


@pytest.mark.parametrize("client", standin.KEYS)
def test_three_arms_of_each_client(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stage = Stage(tmp_path, client, monkeypatch)
    arms = {"without_skill": SILENT, "other_skill": CURT, "with_skill": GOOD}
    assert stage.run(*stage.other, "--runs", "2", "--price", "1/0.5/10", **arms) == 0
    result = stage.kept("benchmark.json")
    summary = result["run_summary"]
    rates = {arm: summary[arm]["pass_rate"] for arm in arms}
    assert rates == {arm: {"mean": mean, "stddev": 0.0} for arm, mean in zip(arms, (0, 0.5, 1), strict=True)}
    assert all(summary[arm]["tokens"] == {"mean": 1000, "stddev": 0.0} for arm in arms)
    cost = 0.25 if client in TELLS_THE_COST else (100 + 800 * 0.5 + 100 * 10) / 1e6
    assert summary["with_skill"]["cost_usd"]["mean"] == round(cost, 4)
    assert summary["delta"]["pass_rate"] == 1.0 and summary["delta"]["tokens"] == 0
    assert summary["delta_to_other_skill"]["pass_rate"] == 0.5
    assert [summary[arm].get("skill_used") for arm in arms] == [None, 1.0, 1.0]
    assert result["metadata"]["clients"] == [f"{client} {client} 0.0 (stand-in)"]
    assert result["metadata"]["runs"] == {"graded": 6}
    output = capsys.readouterr().out
    assert "[6/6] greeting" in output and "2 of 2 criteria" in output and "| criteria met | 0% ± 0%" in output


def test_what_is_kept_of_a_run(stage: Stage) -> None:
    stage.run(without_skill=CURT, with_skill=GOOD)
    run = "greeting/without_skill/run-1"
    assert stage.kept(f"{run}/grading.json") == {
        "assertion_results": [
            {"text": "There is a greeting at all.", "passed": True, "evidence": "15 letters"},
            {"text": "The greeting says good day.", "passed": False, "evidence": "\"GREETING = 'Hi'\""},
        ],
        "summary": {"passed": 1, "failed": 1, "total": 2, "pass_rate": 0.5},
    }
    timing = stage.kept(f"{run}/timing.json")
    assert timing["total_tokens"] == 1000 and timing["duration_ms"] > 0
    record = stage.record("without_skill")
    assert record["tokens"] == {"input": 100, "cached": 800, "output": 100, "total": 1000}
    assert record["cost_usd"] == 0.25 and record["skill_used"] is None and record["seconds"] > 0
    assert (stage.runs / run / "outputs" / "orders" / "greeting.py").read_text() == "GREETING = 'Hi'"
    assert (stage.runs / run / "outputs" / "manage.py").is_file()
    assert '"total_cost_usd"' in (stage.runs / run / "transcript.jsonl").read_text()


def test_a_run_sees_nothing_of_who_runs_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_TOKEN", "OPENAI_API_KEY", "PYTHONPATH", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.setenv(name, "secret")
    assert stage.run(with_skill=GOOD, without_skill=CURT) == 0
    homes = set()
    for start in stage.starts:
        home = Path(start["environ"]["HOME"])
        homes.add(home)
        assert "secret" not in start["environ"].values()
        assert not home.exists() and ROOT not in home.parents and Path(start["cwd"]).parent == home.parent
        held = ["/.claude/skills/this-skill/SKILL.md"] if start["arm"] == "with_skill" else []
        assert [file.removeprefix(str(home)) for file in start["home"]] == held
        assert start["argv"][:2] == ["-p", "Please make the greeting polite, customers complain about it."]
    assert len(homes) == 2


def test_what_is_over_is_not_run_again(stage: Stage) -> None:
    stage.run(without_skill=CURT, with_skill=GOOD)
    assert stage.run(without_skill=CURT, with_skill=GOOD) == 0
    assert len(stage.starts) == 2
    assert stage.run("--runs", "2", without_skill=CURT, with_skill=GOOD) == 0
    assert len(stage.starts) == 4


def test_a_changed_grader_judges_again_what_is_there(stage: Stage) -> None:
    stage.run(without_skill=CURT, with_skill=GOOD)
    stage.write("cases/greeting/grader.py", GRADER.replace('"Good day" in text', '"Hi" in text'))
    assert stage.run() == 0
    assert len(stage.starts) == 2
    assert [verdict["passed"] for verdict in stage.record("without_skill")["verdicts"]] == [True, True]
    assert [verdict["passed"] for verdict in stage.record("with_skill")["verdicts"]] == [True, False]


def test_a_changed_skill_runs_its_arm_again(stage: Stage) -> None:
    stage.run(without_skill=CURT, with_skill=CURT)
    stage.write("this-skill/references/more.md", "More.")
    assert stage.run(without_skill=CURT, with_skill=GOOD) == 0
    assert [start["arm"] for start in stage.starts][2:] == ["with_skill"]


def test_a_failed_run_is_tried_again(stage: Stage, capsys: Capture) -> None:
    assert stage.run("--runs", "1", without_skill=CURT, with_skill={**GOOD, "fails": 1}) == 1
    record = stage.record("with_skill")
    assert record["status"] == "failed" and record["error"] == "exit 1 rate limit: try again later"
    assert "with_skill" not in stage.kept("benchmark.json")["run_summary"]
    assert "1 of 2 runs have no result" in capsys.readouterr().err
    assert stage.run(without_skill=CURT, with_skill={**GOOD, "fails": 1}) == 0
    assert [start["arm"] for start in stage.starts].count("with_skill") == 2


def test_a_grader_that_breaks_costs_no_second_run(stage: Stage) -> None:
    stage.write("cases/greeting/grader.py", "def grade(trial):\n    raise LookupError('oh')\n    yield")
    assert stage.run(without_skill=CURT, with_skill=GOOD) == 1
    assert "LookupError" in stage.record("with_skill")["error"]
    stage.write("cases/greeting/grader.py", GRADER)
    assert stage.run() == 0
    assert len(stage.starts) == 2


def test_a_server_that_does_not_start_says_nothing_of_the_result(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stage.write("cases/greeting/grader.py", GRADER.replace("text = ", "trial.servers.redis\n    text = "))

    def fails(server: Redis) -> None:
        raise AssertionError("redis ended:\nno such file")

    monkeypatch.setattr(Redis, "start", fails)
    assert stage.run("--arm", "with_skill", with_skill=GOOD) == 1
    record = stage.record("with_skill")
    assert record["status"] == "ungraded" and "Redis does not start (no such file)" in record["error"]
    assert cli.main(["grade", "greeting", str(stage.folder), "--cases", str(stage.case.parent)]) == 2
    said = capsys.readouterr()
    assert "`make graders` brings it" in said.err and "No run is graded." in said.out


@pytest.mark.parametrize("client", standin.KEYS)
def test_a_baseline_that_read_the_skill_does_not_count(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, client, monkeypatch)
    cheats = {**GOOD, "reads": [str(tmp_path / "this-skill" / "SKILL.md")]}
    assert stage.run(*stage.other, without_skill=cheats, other_skill=cheats, with_skill=GOOD) == 1
    for arm in ("without_skill", "other_skill"):
        assert stage.record(arm)["status"] == "contaminated"
        assert any("the transcript holds" in sign for sign in stage.record(arm)["contamination"])
    assert list(stage.kept("benchmark.json")["run_summary"]) == ["with_skill"]
    assert stage.kept("benchmark.json")["metadata"]["runs"] == {"contaminated": 2, "graded": 1}


def test_the_skill_is_found_in_what_the_baseline_leaves(stage: Stage) -> None:
    leaves = {**CURT, "leaves": str(stage.folder / "this-skill" / "SKILL.md")}
    assert stage.run("--arm", "without_skill", without_skill=leaves) == 1
    assert stage.record("without_skill")["contamination"] == ["shop/NOTES.md holds the skill this-skill itself"]


def test_an_older_version_can_be_the_other_skill(stage: Stage, tmp_path: Path) -> None:
    more = "Whoever comes in a second time is greeted by the name that was given the first."
    stage.write("older/SKILL.md", SKILL.format(name="this-skill"))
    stage.write("this-skill/SKILL.md", f"{SKILL.format(name='this-skill')}\n{more}\n")
    # The stand-in takes both for the same arm: it reads what lies in its home.
    assert stage.run("--other", str(tmp_path / "older"), with_skill=GOOD, without_skill=CURT) == 0
    cheats = {**GOOD, "reads": [str(tmp_path / "this-skill" / "SKILL.md")]}
    stage.runs = tmp_path / "again"
    assert stage.run("--other", str(tmp_path / "older"), with_skill=cheats, without_skill=CURT) == 1
    assert stage.record("other_skill")["status"] == "contaminated"
    assert "Whoever comes in a second time" in stage.record("other_skill")["contamination"][0]
    assert stage.record("with_skill")["status"] == "graded"


def test_a_run_that_hangs_is_ended_with_what_it_started(stage: Stage) -> None:
    pid = stage.folder / "pid"
    hangs = {"hangs": str(pid)}
    # Long enough to have started the child on a busy machine.
    assert stage.run("--timeout", "5", "--arm", "without_skill", without_skill=hangs) == 1
    assert stage.record("without_skill")["error"].startswith("not done in 5 s")
    until(lambda: not _runs(int(pid.read_text())), 10, "the child is gone")


def test_an_interrupted_command_ends_its_clients_and_goes_on(stage: Stage) -> None:
    pid = stage.folder / "pid"
    words = stage.arguments(without_skill=CURT, with_skill={"hangs": str(pid)})
    command = [sys.executable, str(ROOT / "scripts" / "evals"), *words]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_interrupts
    )
    record = stage.runs / "greeting" / "without_skill" / "run-1" / "grading.json"
    until(lambda: record.exists() and pid.exists() and pid.read_text(), 60, "one run over, one hangs")
    process.send_signal(signal.SIGINT)
    assert "the same command goes on from here" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    until(lambda: not _runs(int(pid.read_text())), 10, "the child is gone")
    assert stage.run(without_skill=CURT, with_skill=GOOD) == 0
    assert [start["arm"] for start in stage.starts].count("without_skill") == 1


def _heeds_interrupts() -> None:
    """Whatever the tests were started by: a shell lets its background jobs ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_more_is_spent_than_allowed(stage: Stage) -> None:
    assert stage.run("--runs", "4", "--jobs", "1", "--max-cost-usd", "0.6", without_skill=CURT, with_skill=GOOD) == 1
    assert len(stage.starts) == 3


@pytest.mark.parametrize("client", standin.KEYS)
def test_without_a_key_it_says_what_to_set(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stage = Stage(tmp_path, client, monkeypatch)
    monkeypatch.delenv(standin.KEYS[client])
    assert stage.run() == 2
    assert f"{client} needs a key: set " in (error := capsys.readouterr().err) and standin.KEYS[client] in error
    assert not stage.runs.exists() and not stage.starts


def test_what_else_is_missing_is_said_in_a_line(stage: Stage, capsys: Capture) -> None:
    for more, says in (
        (["--case", "nothing*"], "no case fits"),
        (["--other", str(stage.folder)], "not a skill with a name"),
        (["--arm", "other_skill"], "needs --other FOLDER"),
    ):
        assert stage.run(*more) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    (stage.folder / "bin" / "claude").unlink()
    if os.system("command -v claude >/dev/null"):  # where it is installed, that one would be asked
        assert stage.run() == 2
        assert "`claude --version` does not run" in capsys.readouterr().err


def test_a_dry_run_runs_nothing(stage: Stage, capsys: Capture) -> None:
    assert stage.run("--dry-run", "--model", "large") == 0
    output = capsys.readouterr().out
    assert "1 cases × 2 arms × 1: 2 runs, 0 of them over" in output and "--model large" in output
    assert not stage.starts


def test_a_report_can_be_made_again(stage: Stage, capsys: Capture) -> None:
    stage.run(without_skill=CURT, with_skill=GOOD)
    before = stage.kept("benchmark.json")
    (stage.runs / "benchmark.json").unlink()
    capsys.readouterr()
    assert cli.main(["report", str(stage.runs)]) == 0
    assert stage.kept("benchmark.json") == before
    assert capsys.readouterr().out == (stage.runs / "benchmark.md").read_text()
    plot = (stage.runs / "benchmark.svg").read_text()
    assert plot.count("<title>") == 2 and "greeting, this skill: 100%" in plot
    assert cli.main(["report", str(stage.folder)]) == 2


def test_the_spread_is_that_of_a_sample(stage: Stage) -> None:
    stage.run("--runs", "2", "--arm", "with_skill", with_skill=GOOD)
    records = report.collect(stage.runs)
    records[0].verdicts[0]["passed"] = False
    result = report.benchmark(records)
    assert result["run_summary"]["with_skill"]["pass_rate"] == {"mean": 0.75, "stddev": 0.3536}
    assert result["cases"][0]["with_skill"]["criteria"] == {"greets": 0.5, "polite": 1.0}
    assert "delta" not in result["run_summary"]
