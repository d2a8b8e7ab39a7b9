"""A comparison as one self-contained HTML page and one CSV file."""

import csv
import html
import io
import math

from isthmus.comparison.cost_chart import Point, scatter
from isthmus.comparison.methods import CEILING, Budget
from isthmus.comparison.runner import BASELINES, Comparison
from isthmus.evaluation.intervals import Estimate

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;
color:#1c2733}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #e3e8ee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#52606d;font-size:.85rem}
tr.baseline td{color:#6b7785}tr.baseline td:first-child::after{content:" (baseline)";font-size:.8em}
.ci{color:#7b8794;font-size:.82em;display:block}.muted{color:#6b7785}
.wide{overflow-x:auto}svg{max-width:100%;height:auto}ul{padding-left:1.2rem}
""".strip()

_LEAST = 0.01
"""Seconds below which a fit counts as free, so that the picture's scale is left to the others."""


def page(found: Comparison) -> str:
    """The whole page."""
    settings, budget = found.settings, found.settings.budget
    shape = " x ".join(map(str, found.prepared.shape))
    head = (
        f"{found.prepared.rows:,} rows of {shape}; {settings.seeds} seeds, each with its own "
        f"quarter of the rows for testing; {_steps(budget)} of {budget.batch_size} rows, "
        f"codes of {budget.latents} numbers (sparse dictionaries: {budget.latents} of "
        f"{budget.width} latents active), each recipe at its published learning rate"
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in found.prepared.notes)
    given = "".join(
        f"<li>{html.escape(name)}: {html.escape(', '.join(f'{k}={v}' for k, v in own.items()))}"
        "</li>"
        for name, own in settings.options.items()
        if own
    )
    out = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(why)}</li>"
        for name, why in found.left_out.items()
    )
    title = f"{html.escape(found.prepared.name)}: {html.escape(settings.task)}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>{html.escape(found.task.about)}</p><p class=muted>{html.escape(head)}.</p>",
        f"<div class=wide>{_table(found)}</div>",
        _legend(found),
        f"<h2>Quality against cost</h2>{_pareto(found)}",
        f"<h2>What was done to the data</h2><ul>{notes or '<li>nothing</li>'}</ul>",
        f"<h2>Options given</h2><ul>{given}</ul>" if given else "",
        f"<h2>Left out</h2><ul>{out}</ul>" if out else "",
        f"<h2>Every seed</h2><div class=wide>{_seeds(found)}</div></html>\n",
    ]
    return "".join(parts)


def as_csv(found: Comparison) -> str:
    """One line for each method, seed and measure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "baseline", "seed", "measure", "value", "parameters", "seconds"))
    for name in found.ranking:
        for run in found.of(name):
            for measure, value in run.measures.items():
                writer.writerow(
                    (name, int(name in BASELINES), run.seed, measure, repr(value), run.parameters,
                     f"{run.seconds:.3f}")
                )  # fmt: skip
    return text.getvalue()


def number(value: float) -> str:
    """Four digits that matter."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def _cell(found: Estimate) -> str:
    interval = ""
    if not math.isnan(found.mean) and found.low != found.high:
        interval = f"<span class=ci>{found.low:.3g} to {found.high:.3g}</span>"
    return f"<td>{number(found.mean)}{interval}</td>"


def _table(found: Comparison) -> str:
    measures, best = found.measures, found.best_baseline
    arrows = [f"{m.replace('_', ' ')} {'↑' if found.task.measures[m] else '↓'}" for m in measures]
    gain = [] if best is None else [f"better than {best} by"]
    head = "".join(
        f"<th>{html.escape(name)}</th>"
        for name in ("method", *arrows, *gain, "parameters", "seconds")
    )
    rows = []
    for name in found.ranking:
        cells = [_cell(found.estimate(name, measure)) for measure in measures]
        if best is not None:
            cells.append("<td></td>" if name == best else _cell(found.gap(name, best)))
        runs = found.of(name)
        seconds = sum(run.seconds for run in runs) / len(runs)
        cells.append(f"<td>{runs[0].parameters:,}</td><td>{seconds:.1f}</td>")
        kind = " class=baseline" if name in BASELINES else ""
        rows.append(f"<tr{kind}><td>{html.escape(name)}</td>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _legend(found: Comparison) -> str:
    lines = "".join(
        f"<li><b>{name}</b>: {html.escape(BASELINES[name])}</li>"
        for name in found.task.baselines
        if name in found.ranking
    )
    note = (
        "Means over the seeds; below them the 95 % interval (bootstrap over seeds; with three "
        "their range). Differences are paired by seed."
    )
    return f"<p class=muted>{note}</p><ul class=muted>{lines}</ul>"


def _pareto(found: Comparison) -> str:
    first = found.measures[0]
    cost = "bits" if "bits" in found.measures else "seconds"
    quality = found.measures[1] if cost == "bits" else first
    points = []
    for name in found.ranking:
        runs = found.of(name)
        at = found.estimate(name, quality)
        spent = (
            found.estimate(name, "bits").mean
            if cost == "bits"
            else sum(run.seconds for run in runs) / len(runs)
        )
        points.append(Point(name, max(spent, _LEAST), at.mean, at.low, at.high, name in BASELINES))
    label = "bits a row" if cost == "bits" else "seconds to fit"
    return scatter(points, label, quality.replace("_", " "), found.task.measures[quality])


def _seeds(found: Comparison) -> str:
    head = "".join(
        f"<th>{html.escape(n)}</th>" for n in ("method", "seed", *found.measures, "seconds")
    )
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{run.seed}</td>"
        + "".join(f"<td>{number(run.measures.get(m, math.nan))}</td>" for m in found.measures)
        + f"<td>{run.seconds:.1f}</td></tr>"
        for name in found.ranking
        for run in found.of(name)
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _steps(budget: Budget) -> str:
    """How long each recipe trains."""
    if budget.steps is None:
        return f"until nothing is gained on held-out rows, at most {CEILING:,} steps"
    return f"{budget.steps:,} steps"
