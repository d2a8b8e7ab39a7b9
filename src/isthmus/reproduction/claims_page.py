"""``docs/claims.md`` and a page a family: what papers claim beside what was measured.

Results come from the JSON files alone; the claims that are declared and were not run yet come from
their pages.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isthmus.reproduction.judging import WORDS
from isthmus.reproduction.results import Outcome, read
from isthmus.studies import Claim

HEAD = """# Claims

The central claim of a paper as an experiment that can fail: `isthmus reproduce NAME` runs it again.
One check decides, the paper's own comparison in its own measure, against no effect (or a number
that the paper or a theorem gives); it was declared before it was run, on seeds that were not seen
before. Its word:

- **supported**: the whole 95 % interval (Student's t, paired by seed) lies on the paper's side;
- **contradicted**: the whole interval lies on the other side, and every premise is met;
- **not resolved**: the interval covers the threshold, or seeds are missing;
- **not testable here**: a premise (by its mean over the seeds) or the positive control is missed,
  the negative control passes, one of these numbers is undefined, or the arms have not converged.
  Then the interval is not looked at, and nothing is said of the paper.

In brackets stand 95 % intervals; *a to b* is the range of the seeds.

Everything runs at the scale of a laptop, which each page states. How a claim is declared and
checked: [check a claim](write/claim.md).
"""

CONTROLS = (
    ("positive", "passes, as it must", "is missed"),
    ("negative", "passes", "does not pass, as it must not"),
)
"""What is said of each control where it is on the paper's side, and where it is not."""

PICTURE = "![Effects here and as published, beside their nulls](pictures/claims.svg)"


def stored(folder: Path) -> list[dict[str, Any]]:
    """The kept results of the full budget, by name."""
    return [read(path) for path in sorted(folder.glob("*.json")) if "@" not in path.name]


def claims_page(results: Iterable[Mapping[str, Any]], declared: Mapping[str, Claim]) -> str:
    """The table at a glance, with the picture of all effects."""
    by_name = {one["name"]: one for one in results if one["trials"]}
    counts = [(word, sum(one["word"] == word for one in by_name.values())) for word in WORDS]
    summary = "; ".join(f"{word}: {count}" for word, count in counts)
    lines = [
        HEAD,
        f"{len(by_name)} of {len(declared)} claims have been run. {_capital(summary)}.",
    ]
    if by_name:
        lines += ["", PICTURE, ""]
        lines += ["| claim | paper's effect | effect here | word | seeds | minutes |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines += [_line(by_name[name]) for name in sorted(by_name)]
    missing = [name for name in declared if name not in by_name]
    if missing:
        lines += ["", "## Declared, and not run yet", ""]
        for name in missing:
            about = declared[name]
            lines.append(f"- [`{name}`](claims/{about.family}.md#{name}): {about.statement}")
    return "\n".join([*lines, ""])


def family_pages(
    results: Iterable[Mapping[str, Any]], declared: Mapping[str, Claim]
) -> dict[str, str]:
    """The details of all claims, a page a family; those not run yet with what will decide."""
    by_name = {one["name"]: one for one in results}
    pages: dict[str, list[str]] = {}
    for name, claim in declared.items():
        one = by_name.get(name) or Outcome(claim, 1.0).to_dict()
        pages.setdefault(claim.family, []).append(section(one))
    return {
        family: "\n".join([f"# Claims: {family}\n", *sections])
        for family, sections in pages.items()
    }


def section(one: Mapping[str, Any]) -> str:
    """Everything that a reader needs to judge the word of one claim by."""
    number = "" if one["catalogue"] is None else f" Catalogue {one['catalogue']}."
    lines = [f"## {one['name']}", "", f"{one['paper']}.{number}", ""]
    lines += [f"**Claim.** {one['statement']}", "", f"**Paper.** {one['headline']}", ""]
    lines += [f"**Here.** {one['setting']}", ""]
    lines += [f"- *{arm}*: {text}" for arm, text in one["arms"].items()]
    lines += ["", *claim_lines(one), ""]
    if one["trials"]:
        lines += [_table(one), ""]
    return "\n".join(lines)


def declared_lines(one: Mapping[str, Any]) -> list[str]:
    """What will decide about a claim that was not run yet, a list item each."""
    main = one["primary"]
    whose = "" if main["source"] == "null" else f" ({main['source']}: {main['place']})"
    reference = main["published"]
    published = (
        "" if reference is None else f"; published {reference['effect']:.4g} ({reference['place']})"
    )
    lines = ["**Declared, and not run yet.**", ""]
    lines.append(f"- {_capital(main['text'])}: claimed {main['rule']}{whose}{published}.")
    lines += [f"- {_capital(kind)} control: {one[kind]['text']}." for kind, *_ in CONTROLS]
    for finding in one["premises"]:
        why = f" ({finding['why']})" if finding["why"] else ""
        lines.append(f"- Premise{why}: {finding['text']}, needed {finding['rule']}.")
    lines += [f"- Beside it: {finding['text']}, {_asked(finding)}." for finding in one["secondary"]]
    if one["rates"]:
        lines.append("- " + _rates(one["rates"]))
    return lines


def claim_lines(one: Mapping[str, Any]) -> list[str]:
    """The word with what it rests on, a paragraph or a list item each."""
    if not one["trials"]:
        return declared_lines(one)
    seeds = f"{len(one['seeds'])} seeds, {one['minutes']:.1f} minutes"
    lines = [f"**{_capital(one['word'])}** ({seeds})." + (f" {one['reading']}" if one["reading"]
             else "")]  # fmt: skip
    if one["reasons"]:
        lines += ["", "Why nothing is decided: " + "; ".join(one["reasons"]) + "."]
    main = one["primary"]
    whose = "" if main["source"] == "null" else f" ({main['source']}: {main['place']})"
    lines += ["", f"- {_capital(main['text'])}: {estimate(main['value'])}, claimed {main['rule']}"
              f"{whose}; by seed {', '.join(_number(x) for x in main['seeds'])}."]  # fmt: skip
    if main["published"]:
        reference = main["published"]
        lines.append(f"- Published: {reference['effect']:.4g} ({reference['place']}): the effect "
                     f"here is {_as(main['beside'])}.")  # fmt: skip
    for kind, passed, missed in CONTROLS:
        finding = one[kind]
        what = passed if finding["side"] == "yes" else missed
        lines.append(f"- {_capital(kind)} control: {estimate(finding['value'])}, {what}.")
    for finding in one["premises"]:
        met = "met" if finding["met"] else "**missed**"
        why = f" ({finding['why']})" if finding["why"] else ""
        lines.append(f"- Premise{why}: {finding['text']}, {estimate(finding['value'])}, needed "
                     f"{finding['rule']}: {met}.")  # fmt: skip
    if one["curve"]:
        points = ", ".join(f"{_number(v)} at {b}" for b, v in sorted(one["curve"].items()))
        lines.append(f"- On the pilot's seed, by budget: {points}.")
    if one["rates"]:
        lines.append("- " + _rates(one["rates"]))
    for finding in one["secondary"]:
        lines.append(f"- Beside it: {finding['text']}, {estimate(finding['value'])}, "
                     f"{_asked(finding)}: {finding['side']}.")  # fmt: skip
    return lines


def estimate(value: Mapping[str, float | None]) -> str:
    """A mean with its interval."""
    if value["mean"] is None:
        return "undefined"
    if value["low"] is None or value["high"] is None:
        return f"{value['mean']:.4g}"
    if value["low"] == value["high"]:
        return f"{value['mean']:.4g}"
    return f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def _line(one: Mapping[str, Any]) -> str:
    main = one["primary"]
    effect = "" if main["published"] is None else f"{main['published']['effect']:.4g}"
    beside = f", {_as(main['beside'])}" if main["beside"] else ""
    cells = [
        f"[`{one['name']}`](claims/{one['family']}.md#{one['name']}): {one['statement']}",
        effect,
        f"{estimate(main['value'])}, claimed {main['rule']}{beside}",
        f"**{one['word']}**",
        str(len(one["seeds"])),
        f"{one['minutes']:.1f}",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rates(rates: Mapping[str, Any]) -> str:
    grid = ", ".join(f"{rate:g}" for rate in rates["grid"])
    if rates["chosen"] is None:
        return f"Rates: from {grid}, not chosen yet."
    choices = ", ".join(f"{arm} {rate:g}" for arm, rate in rates["chosen"].items())
    edge = f" At the edge of the grid: {', '.join(rates['on_edge'])}." if rates["on_edge"] else ""
    return f"Rates, by {rates['by']} on the pilot's seed, from {grid}: {choices}.{edge}"


def _asked(finding: Mapping[str, Any]) -> str:
    whose = {"null": "", "ours": " (ours)", "paper": " (paper)", "theorem": " (theorem)"}
    return f"{finding['rule']}{whose[finding['source']]}"


def _as(beside: str) -> str:
    return beside if beside == "as published" else f"{beside} than published" if beside in (
        "smaller", "larger") else "opposite to the published one"  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


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
