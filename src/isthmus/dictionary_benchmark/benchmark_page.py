"""A benchmark as one self-contained HTML page: one table, one picture, and every task below."""

import math

from isthmus.dictionary_benchmark.benchmark_figures import BenchmarkResult
from isthmus.dictionary_benchmark.score_chart import ChartColumn, Scored, score_chart
from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask, TaskMeasure
from isthmus.evaluation import Result
from isthmus.pages import kit
from isthmus.pages.kit import Html, tag
from isthmus.pages.kit.markup import Content

DIRECTIONS = {True: "higher is better", False: "lower is better", None: "no direction"}


def benchmark_page(found: BenchmarkResult) -> str:
    """The whole page."""
    dictionaries = [row for row in found.rows if not row.control]
    points = ", ".join(dict.fromkeys(row.point for row in found.rows))
    count = f"{len(dictionaries)} dictionaries, {found.seeds} seeds"
    body = [
        kit.header(f"{found.host} at {points}", tag("span", count, class_="quiet")),
        kit.main(
            kit.card("Measures", main_table(found), _legend(found)),
            kit.card("The same as a picture", picture(found)),
            *(_task(found, task) for task in found.tasks),
            kit.card("What was the same for all", kit.facts(_setting(found))),
        ),
    ]
    style = kit.asset("isthmus.dictionary_benchmark", "benchmark.css")
    return kit.document(f"benchmark of dictionaries: {found.host}", body, style=style)


def main_table(found: BenchmarkResult) -> Html:
    """A row for each dictionary, then the controls; a column for each main measure."""
    main = found.main()
    heads = [f"{heading(task, about)} {about.arrow}" for task, about in main]
    return _table(found, heads, main)


def heading(task: BenchmarkTask, about: TaskMeasure) -> str:
    """What a measure is called where those of all tasks stand together."""
    name = about.name.replace("_", " ")
    return name if task.name == "core" else f"{task.title}: {name}"


def picture(found: BenchmarkResult) -> Html:
    """Every main measure as dots with intervals."""
    columns = []
    for task, about in found.main():
        values = []
        for row in found.rows:
            result = found.figure(task, about.name, row.name)
            low, high = (
                (math.nan, math.nan) if result is None else result.interval or (math.nan,) * 2
            )
            values.append(Scored(math.nan if result is None else result.value, low, high))
        direction = DIRECTIONS[about.higher_is_better]
        title = about.name.replace("_", " ")
        columns.append(ChartColumn(title, direction, values))
    names = [row.name for row in found.rows]
    return score_chart(names, [bool(row.control) for row in found.rows], columns)


def number(value: float) -> str:
    """Three digits after the point, or as many that matter."""
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def _table(
    result: BenchmarkResult, heads: list[str], columns: list[tuple[BenchmarkTask, TaskMeasure]]
) -> Html:
    rows: list[list[Content]] = []
    classes: dict[int, str] = {}
    for place, row in enumerate(result.rows):
        cells = [_cell(result.figure(task, about.name, row.name)) for task, about in columns]
        rows.append([row.name + (" (control)" if row.control else ""), *cells])
        if row.control:
            classes[place] = "baseline"
    about = {k + 1: one.what for k, (_, one) in enumerate(columns)}
    names = ["dictionary", *heads]
    return kit.table(names, rows, numbers=range(1, len(names)), classes=classes, about=about)


def _cell(result: Result | None) -> list[str]:
    """A value, its interval below it where there is one."""
    if result is None:
        return ["-"]
    if result.interval is None:
        return [number(result.value)]
    low, high = map(number, result.interval)
    return [number(result.value), tag("span", f"{low} to {high}", class_="interval")]


def _legend(result: BenchmarkResult) -> Html:
    controls = [[tag("b", row.name), f": {row.control}"] for row in result.rows if row.control]
    note = (
        "Below each value its 95 % interval: the percentile bootstrap over what a task averages "
        "over (classes, documents, latents), all seeds together. Arrows say which direction is "
        "better. Controls are no dictionaries that anybody trained: a dictionary that does not "
        "do better than they do has not been shown to have found anything."
    )
    missing = [
        [tag("b", task.title), f": {note}"]
        for task in result.tasks
        for note in result.notes(task.name)
        if "not measurable" in note
    ]
    return Html(tag("p", note) + kit.listed([*controls, *missing]))


def _task(result: BenchmarkResult, task: BenchmarkTask) -> Html:
    columns = [(task, about) for about in task.measures]
    heads = [f"{about.name.replace('_', ' ')} {about.arrow}" for about in task.measures]
    meanings = [
        [tag("b", about.name.replace("_", " ")), f": {about.what} ({about.unit}); ",
         DIRECTIONS[about.higher_is_better]]
        for about in task.measures
    ]  # fmt: skip
    body: list[Content] = [tag("p", task.about)]
    if any(
        result.figure(task, about.name, row.name) for _, about in columns for row in result.rows
    ):
        body.append(_table(result, heads, columns))
    body.append(kit.listed(result.notes(task.name)))
    body.append(kit.details(f"the measures; intervals are over {task.over}", kit.listed(meanings)))
    return kit.card(task.title, *body)


def _setting(result: BenchmarkResult) -> list[tuple[str, Content]]:
    sets = ", ".join(f"{name} ({count:,})" for name, count in result.sets.items())
    pairs: list[tuple[str, Content]] = [
        ("host", f"{result.host}, revision {result.revision}"),
        ("seeds", str(result.seeds)),
        ("running text", result.text),
        ("labelled texts", sets),
    ]
    names = {"texts": "texts of a class", "context": "tokens of a labelled text",
             "tokens": "tokens of running text", "latents": "latents explained"}  # fmt: skip
    pairs += [(words, f"{result.settings[key]:,}") for key, words in names.items()]
    pairs += [
        (f"seconds of {task.name}", f"{result.seconds(task.name):.1f}") for task in result.tasks
    ]
    return pairs
