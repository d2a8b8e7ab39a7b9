"""``docs/anchors.md``: published numbers beside the same quantity as measured here."""

from collections.abc import Iterable, Mapping
from typing import Any

HEAD = """# Published numbers

The same quantity as published and as measured here, with the gap. Budgets differ, by orders of
magnitude where it says so: the gap is what a laptop's minutes leave open, not what a method
is worth. Means over seeds, and their range; [claims](claims.md) has every other figure.
"""


def anchors_page(results: Iterable[Mapping[str, Any]]) -> str:
    """The whole page, of those claims that have published numbers and were run."""
    sections = [
        _section(anchors, one)
        for one in results
        if one["trials"]
        for anchors in one.get("anchors", ())
    ]
    return "\n".join([HEAD, *sections])


def _section(anchors: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    lines = [
        f"## {anchors['title']}",
        "",
        f"{anchors['unit'][0].upper()}{anchors['unit'][1:]}. Published: {anchors['source']}. Here: "
        f"`isthmus reproduce {one['name']}` "
        f"([its section](claims/{one['family']}.md#{one['name']})), {len(one['trials'])} seeds. "
        f"{anchors['why']}.",
        "",
        "| | published | here | gap |",
        "| --- | --- | --- | --- |",
        *(_line(number, one["trials"]) for number in anchors["numbers"]),
        "",
    ]
    return "\n".join(lines)


def _line(number: Mapping[str, Any], trials: Iterable[Mapping[str, Any]]) -> str:
    values = [float(trial["figures"][number["arm"]][number["measure"]]) for trial in trials]
    mean = sum(values) / len(values)
    spread = f" ({min(values):.4g} to {max(values):.4g})" if min(values) < max(values) else ""
    published = gap = ""
    if number["published"] is not None:
        published, gap = f"{number['published']:g}", f"{mean - number['published']:+.3g}"
    return f"| {number['what']} | {published} | {mean:.4g}{spread} | {gap} |"
