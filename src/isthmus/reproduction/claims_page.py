"""``docs/claims.md``: what the literature says beside what was measured, made of the JSON alone."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isthmus.reproduction.results import read

HEAD = """# Claims

Each line is the central claim of a paper as an experiment that can fail: `isthmus reproduce NAME`
runs it again. The rule was set, after a pilot with seed 0, before the seeds that count were run; a
claim *holds* where the 95 % interval over seeds (bootstrap; with three seeds their range) of every
required check lies on the right side of its threshold, *fails* where that of any lies on the wrong
side, and is *undecided* otherwise, where the control that must not pass did, or where a premise of
the experiment was not met. Everything runs at the scale of a laptop, which the text below the table
states: a claim that fails here need not fail at the paper's. The table has the first check of each;
a claim of many parts fails with one of them, so it also says how many of its required checks hold.
"""


def stored(folder: Path) -> list[dict[str, Any]]:
    """The kept results of the full budget, by name."""
    paths = sorted(path for path in folder.glob("*.json") if "@" not in path.name)
    return [read(path) for path in paths]


def claims_page(results: Iterable[Mapping[str, Any]]) -> str:
    """The whole page."""
    found = list(results)
    counts = {v: sum(one["verdict"] == v for one in found) for v in ("holds", "fails", "undecided")}
    lines = [
        HEAD,
        f"Claims checked: {len(found)}. Hold: {counts['holds']}; fail: {counts['fails']}; "
        f"undecided: {counts['undecided']}.",
        "",
        "| study | paper | claim | headline of the paper | measured | verdict | checks that hold "
        "| seeds | minutes |",
        "| --- |" + " --- |" * 8,
        *(_line(one) for one in found),
    ]
    return "\n".join([*lines, "", *(_section(one) for one in found)])


def claim_lines(one: Mapping[str, Any]) -> str:
    """What a recipe's page says of its claim: the verdict and each check."""
    verdict = f"**{one['verdict']}** ({len(one['seeds'])} seeds, {one['setting']})"
    return "\n".join([verdict, "", *(_check(check) for check in one["checks"])])


def _line(one: Mapping[str, Any]) -> str:
    number = "" if one["catalogue"] is None else f" ({one['catalogue']})"
    required = [c for c in one["checks"] if c["required"] and not c.get("premise")]
    leading = required[0]
    measured = f"{leading['text']}: {_estimate(leading['value'])} (asked {leading['rule']})"
    cells = [
        f"[`{one['name']}`](#{one['name']}){number}",
        one["paper"],
        one["statement"],
        one["headline"],
        measured,
        f"**{one['verdict']}**",
        f"{sum(c['verdict'] == 'holds' for c in required)} of {len(required)}",
        str(len(one["seeds"])),
        f"{one['minutes']:.1f}",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _section(one: Mapping[str, Any]) -> str:
    lines = [f"## {one['name']}", "", one["setting"], ""]
    lines += [f"- *{arm}*: {what}" for arm, what in one["arms"].items()]
    lines += ["", *(_check(check) for check in one["checks"]), "", _table(one), ""]
    return "\n".join(lines)


def _check(check: Mapping[str, Any]) -> str:
    extra = "" if check["required"] else " (not part of the verdict)"
    extra = " (a premise)" if check.get("premise") else extra
    text = f"- {check['text']}{extra}: {_estimate(check['value'])}, asked {check['rule']}: "
    text += f"**{check['verdict']}**."
    if check["control"] is not None:
        how = "fails, as it must" if check["control_fails"] else "passes as well"
        text += f" Control: {_estimate(check['control'])}, {how}."
    return text


def _table(one: Mapping[str, Any]) -> str:
    """Measures down, arms across: the mean over the seeds and their range."""
    measures: dict[str, None] = {}
    for trial in one["trials"]:
        for figures in trial["figures"].values():
            measures.update(dict.fromkeys(figures))
    arms = list(one["arms"])
    lines = ["| measure | " + " | ".join(arms) + " |", "| --- |" + " --- |" * len(arms)]
    for measure in measures:
        cells = [
            _range([trial["figures"][arm].get(measure) for trial in one["trials"]]) for arm in arms
        ]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _range(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return ""
    mean = sum(numbers) / len(numbers)
    if min(numbers) == max(numbers):
        return f"{mean:.4g}"
    return f"{mean:.4g} ({min(numbers):.4g} to {max(numbers):.4g})"


def _estimate(value: Mapping[str, float | None]) -> str:
    if value["mean"] is None:
        return "undefined"
    if value["low"] == value["high"]:
        return f"{value['mean']:.4g}"
    return f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
