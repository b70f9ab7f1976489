"""What runs showed: ``benchmark.json`` as the Agent Skills guide has it, a table, and a plot for the site."""

from __future__ import annotations

import json
from collections import defaultdict
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .run import ARMS, OTHER, WITH, WITHOUT, Record, read

TITLES = {WITHOUT: "no skill", OTHER: "other skill", WITH: "this skill"}
COLOURS = {WITHOUT: "#9aa0a6", OTHER: "#e0a030", WITH: "#2e7d32"}
Groups = dict[str, list[Record]]


def collect(folder: Path) -> list[Record]:
    """The records below a folder."""
    return [record for path in sorted(folder.glob("*/*/run-*/run.json")) if (record := read(path))]


def _groups(records: list[Record]) -> Groups:
    """The graded runs by arm, in the order of the arms."""
    return {arm: found for arm in ARMS if (found := [r for r in records if r.arm == arm and r.status == "graded"])}


def _spread(values: list[float], digits: int) -> dict[str, float]:
    return {"mean": round(mean(values), digits), "stddev": round(stdev(values), digits) if len(values) > 1 else 0.0}


def _summary(records: list[Record]) -> dict[str, Any]:
    """Mean and standard deviation over the runs of an arm."""
    summary: dict[str, Any] = {
        "pass_rate": _spread([record.pass_rate for record in records], 4),
        "time_seconds": _spread([record.seconds for record in records], 1),
        "tokens": _spread([record.tokens.get("total", 0) for record in records], 0),
    }
    costs = [record.cost_usd for record in records if record.cost_usd is not None]
    if len(costs) == len(records):
        summary["cost_usd"] = _spread(costs, 4)
    used = [record.skill_used for record in records if record.skill_used is not None]
    if used:
        summary["skill_used"] = round(mean(used), 4)
    return summary


def _delta(summaries: dict[str, Any], base: str) -> dict[str, float]:
    """What this skill changes against another arm, of what both have."""
    new, old = summaries[WITH], summaries[base]
    keys = [key for key, value in new.items() if isinstance(value, dict) and key in old]
    return {key: round(new[key]["mean"] - old[key]["mean"], 4) for key in keys}


def benchmark(records: list[Record]) -> dict[str, Any]:
    """The object of ``benchmark.json``: the guide's ``run_summary``, and what stands behind it."""
    groups = _groups(records)
    summaries = {arm: _summary(found) for arm, found in groups.items()}
    deltas = {}
    if WITH in summaries:
        deltas = {
            name: _delta(summaries, base)
            for name, base in (("delta", WITHOUT), ("delta_to_other_skill", OTHER))
            if base in summaries
        }
    states = [record.status for record in records]
    return {
        "run_summary": {**summaries, **deltas},
        "metadata": {
            "clients": sorted({f"{record.client} {record.version}" for record in records}),
            "models": sorted({record.model or "the client's default" for record in records}),
            "from": min((record.started for record in records), default=""),
            "to": max((record.started for record in records), default=""),
            "runs": {status: states.count(status) for status in sorted(set(states))},
        },
        "cases": _by_case(groups),
    }


def _by_case(groups: Groups) -> list[dict[str, Any]]:
    """For each case and arm, how often each criterion was met."""
    cases: dict[str, dict[str, Any]] = defaultdict(dict)
    for arm, records in groups.items():
        for name in sorted({record.case for record in records}):
            runs = [record for record in records if record.case == name]
            met: dict[str, list[bool]] = defaultdict(list)
            for record in runs:
                for verdict in record.verdicts:
                    met[verdict["criterion"]].append(verdict["passed"])
            cases[name][arm] = {
                "runs": len(runs),
                "pass_rate": _spread([record.pass_rate for record in runs], 4),
                "criteria": {criterion: round(mean(passed), 4) for criterion, passed in met.items()},
            }
    return [{"name": name, **cases[name]} for name in sorted(cases)]


def table(result: dict[str, Any]) -> str:
    """The summary, as Markdown."""
    arms = [arm for arm in ARMS if arm in result["run_summary"]]
    titles = [TITLES[arm] for arm in arms]
    if not arms:
        return "No run is graded.\n"
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---:|' * len(arms)}"]
    rows = (("criteria met", "pass_rate", "{:.0%}"), ("seconds", "time_seconds", "{:,.0f}"))
    for title, key, form in (*rows, ("tokens", "tokens", "{:,.0f}"), ("US dollars", "cost_usd", "{:.2f}")):
        spreads = [result["run_summary"][arm].get(key) for arm in arms]
        if any(spreads):
            cells = [f"{form.format(s['mean'])} ± {form.format(s['stddev'])}" if s else "unknown" for s in spreads]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    used = [result["run_summary"][arm].get("skill_used") for arm in arms]
    if any(share is not None for share in used):
        cells = ["" if share is None else f"{share:.0%}" for share in used]
        lines.append(f"| runs that read it | {' | '.join(cells)} |")
    lines += ["", f"| case | {' | '.join(titles)} |", f"|---|{'---:|' * len(arms)}"]
    for case in result["cases"]:
        cells = [f"{case[arm]['pass_rate']['mean']:.0%} of {case[arm]['runs']}" if arm in case else "" for arm in arms]
        lines.append(f"| {case['name']} | {' | '.join(cells)} |")
    about = result["metadata"]
    runs = ", ".join(f"{count} {status}" for status, count in about["runs"].items())
    lines += ["", f"{', '.join(about['clients'])}; {', '.join(about['models'])}; {about['from'][:10]}; runs: {runs}."]
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any]) -> str:
    """A bar for each case and arm, as SVG."""
    arms = [arm for arm in ARMS if arm in result["run_summary"]]
    left, width, bar, gap = 230, 400, 10, 12
    lines, y = [], 34
    for at, arm in enumerate(arms):
        lines.append(f'<rect x="{left + 110 * at}" y="8" width="10" height="10" fill="{COLOURS[arm]}"/>')
        lines.append(f'<text x="{left + 110 * at + 15}" y="17">{TITLES[arm]}</text>')
    for case in result["cases"]:
        middle = y + len(arms) * bar / 2 + 4
        lines.append(f'<text x="{left - 8}" y="{middle:g}" text-anchor="end">{escape(case["name"])}</text>')
        for arm in arms:
            share = case[arm]["pass_rate"]["mean"] if arm in case else 0
            title = f"<title>{escape(case['name'])}, {TITLES[arm]}: {share:.0%}</title>"
            size = f'width="{max(share * width, 1):g}" height="{bar - 1}"'
            lines.append(f'<rect x="{left}" y="{y}" {size} fill="{COLOURS[arm]}">{title}</rect>')
            y += bar
        y += gap
    for share in (0, 0.5, 1):
        x = left + share * width
        lines.insert(0, f'<path d="M{x:g} 26V{y}" stroke="currentColor" stroke-opacity="0.25"/>')
        lines.append(f'<text x="{x:g}" y="{y + 14}" text-anchor="middle">{share:.0%}</text>')
    y += 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {y}" font-family="sans-serif"'
    label = 'font-size="12" fill="currentColor" role="img" aria-label="Share of criteria met, by case and arm">'
    return "\n".join([f"{head} {label}", *lines, "</svg>"]) + "\n"


def write(folder: Path, records: list[Record] | None = None) -> dict[str, Any]:
    """Write ``benchmark.json``, ``benchmark.md`` and ``benchmark.svg`` into the folder of the runs."""
    result = benchmark(collect(folder) if records is None else records)
    (folder / "benchmark.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "benchmark.md").write_text(table(result), encoding="utf-8")
    (folder / "benchmark.svg").write_text(plot(result), encoding="utf-8")
    return result
