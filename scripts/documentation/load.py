"""The load figure: its table, and a plot of the orders that were confirmed, second by second."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 40  # the margins around the axes
ROWS = {
    "kills": "processes killed",
    "restarts": "restarts of the broker",
    "worker exits": "workers that ended and were started again",
    "runs": "runs of the task",
    "lost": "tasks lost",
    "swept": "of them published again by the sweeper",
    "lost in the end": "**lost in the end**",
    "points": "points given, 10 an order",
}
ARMS = ("recommended", "defaults")
INTRODUCTION = """## Under load

{tasks:,} tasks on two workers of four processes each, one process killed every second, the broker restarted twice; once
with the guide's settings and task options, workers started again by a supervisor and a sweeper, and once with Celery's
defaults. Each confirmed order gave its points once. A run that took longer on a shared machine saw more kills: compare
what was lost, not the seconds. `make load` repeats it.
"""


def section(record: dict[str, Any]) -> str:
    """The section of the evidence page, from docs/data/load.json."""
    brokers = record["brokers"]
    head = [f"{broker}, {arm}" for broker in brokers for arm in ARMS]
    lines = [INTRODUCTION.format(tasks=record["tasks"]), f"| | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
    for key, label in ROWS.items():
        lines.append(f"| {label} | {' | '.join(f'{brokers[b][arm][key]:,}' for b in brokers for arm in ARMS)} |")
    figures = [_figure(broker, found, record["tasks"]) for broker, found in brokers.items()]
    return "\n\n".join(["\n".join(lines), *figures])


def _figure(broker: str, found: dict[str, Any], tasks: int) -> str:
    """One broker's plot, with its text alternative."""
    series = {arm: found[arm]["confirmed each second"] for arm in ARMS}
    seconds = max(len(numbers) - 1 for numbers in series.values()) or 1

    def x(second: float) -> float:
        return round(LEFT + second / seconds * (WIDTH - LEFT - RIGHT), 1)

    def y(number: float) -> float:
        return round(HEIGHT - BOTTOM - number / tasks * (HEIGHT - TOP - BOTTOM), 1)

    name = f"load-{broker.lower()}"
    ends = {arm: f"{arm}: {tasks - found[arm]['lost in the end']:,} of {tasks:,} in the end" for arm in ARMS}
    label, size = f"{name}-title {name}-desc", f"0 0 {WIDTH} {HEIGHT}"
    parts = [
        f'<svg class="picture plot" role="img" aria-labelledby="{label}" viewBox="{size}">',
        f'<title id="{name}-title">{broker}: confirmed orders over time</title>',
        f'<desc id="{name}-desc">{"; ".join(ends.values())}. Restarts of the broker are marked.</desc>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = y(share * tasks)
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{round(share * tasks):,}</text>')
    step = max(10, round(seconds / 6, -1))
    parts += [
        f'<text x="{x(second)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{second} s</text>'
        for second in range(0, seconds + 1, int(step))
    ]
    for arm, numbers in series.items():
        points = " ".join(f"{x(second)},{y(number)}" for second, number in enumerate(numbers))
        parts.append(f'<polyline class="{arm}" points="{points}"/>')
        for second in found[arm]["restarts at"]:
            before = int(second)
            number = numbers[min(before, len(numbers) - 1)]
            parts.append(f'<circle class="{arm}" cx="{x(second)}" cy="{y(number)}" r="5"/>')
    parts.append("</svg>")
    plot = "\n".join(['<div class="picture-frame" tabindex="0">', *parts, "</div>"])
    caption = (
        f"{broker}: solid the guide's settings, dashed Celery's defaults, ● a restart. {', '.join(found['versions'])}"
    )
    return f'<figure markdown="0">\n{plot}\n<figcaption>{caption}</figcaption>\n</figure>'
