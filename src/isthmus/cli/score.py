"""``isthmus score``: which rows are anomalies, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.common import Data, Folder, Options, interruptible, out, parse_options
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    import numpy as np

CONTAMINATION = 0.05
"""Share of the training rows that are flagged where nothing is said."""

METHODS = ("score", "mean-shift")
OPTIONS = {
    "score": ("kind", "draws", "seed"),
    "mean-shift": ("by", "k", "rounds", "among"),
}


def score(
    folder: Folder,
    data: Data,
    options: Options = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.csv", help="where to write")
    ] = Path("scores.csv"),
    contamination: Annotated[
        float | None,
        typer.Option(
            help="share of the training rows that lie below the threshold; by default 0.05"
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="flag rows that score below this")] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="names the rows")
    ] = None,
    drivers: Annotated[
        int | None, typer.Option(min=0, help="columns to name for each row; by default 3")
    ] = None,
) -> None:
    """Score rows by how normal they are, flag anomalies, and name the columns that speak so.

    Higher is more normal: the bound on the log-likelihood in nats where the model has one, else
    minus the squared error. Options are kind=error or kind=bound, draws=, seed=; or
    method=mean-shift with k=, rounds=, by=mse or by=wnll (of a pae): rows are scored by what is
    rebuilt from where their neighbours among the training rows (or among=FILE) lie.
    """
    settings = parse_options(options)
    with interruptible():
        line = run(
            folder, data, output, settings, contamination=contamination, threshold=threshold,
            id_column=id_column, drivers=drivers,
        )  # fmt: skip
    out.print(escape(line))


def run(
    folder: Path,
    data: str,
    output: Path,
    options: Mapping[str, Any],
    *,
    contamination: float | None = None,
    threshold: float | None = None,
    id_column: str | None = None,
    drivers: int | None = None,
) -> str:
    """Write the scores of ``data`` as CSV to ``output``; returns a line for the user.

    The columns are the row's number from 0 (its file's name of a folder of images, or the cells of
    ``id_column`` under that name), ``score``, ``anomaly`` (1 or 0, where there is a threshold), and
    for each driver its name and how much it speaks against the row, in the unit of the score.
    """
    import numpy as np

    from isthmus import notices, runs
    from isthmus.anatomy.thresholds import below
    from isthmus.data.naming import column_names, row_names
    from isthmus.runs import write_atomically
    from isthmus.tables.writing import as_csv

    if output.suffix != ".csv":
        raise IsthmusError(f"{output} should end in .csv: scores are written as a table")
    if contamination is not None and threshold is not None:
        raise IsthmusError("--threshold already says where anomalies begin: leave out one of both")
    if threshold is not None and np.isnan(threshold):
        raise IsthmusError("--threshold nan is no score: rows below it are flagged")
    options = dict(options)
    method = options.pop("method", "score")
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    for name in options:
        if name not in OPTIONS[method]:
            raise unknown(f"option of method={method}", name, OPTIONS[method])
    model = runs.load(folder)
    source = opened(data, model)
    heads, ids = row_names(data, source, id_column)
    if heads and len(ids) != len(source):
        raise IsthmusError(
            f"{len(ids)} names were found for {len(source)} rows of {data}: leave out --id"
        )
    limit: float | None
    if method == "mean-shift":
        scores, limit = _mean_shift(model, folder, source, options, contamination, threshold)
    else:
        scores = np.asarray(model.score(source, **options))
        limit = _limit(model, options, contamination, threshold)
    table: dict[str, Sequence[Any]] = {
        **({heads[0]: ids} if heads else {"row": range(len(scores))}),
        "score": [float(f"{value:.7g}") for value in scores.tolist()],
    }
    if limit is not None:
        flags = below(scores, limit)
        table["anomaly"] = flags.tolist()
    else:
        notices.say(
            "no rows are flagged, since this run kept no scores of training rows: pass --threshold"
        )
    explainable = model.signal.kind == "vector" and method == "score"
    number = (3 if explainable else 0) if drivers is None else drivers
    if number:
        settings = {k: v for k, v in options.items() if k in OPTIONS["score"]}
        weights = np.asarray(model.drivers(source, **settings)).reshape(len(scores), -1)
        table.update(_driven(weights, column_names(model, source, weights.shape[1]), number))
    write_atomically(output, as_csv(table))
    if limit is None:
        return f"{output}: {len(scores):,} rows"
    return (
        f"{output}: {len(scores):,} rows, of which {int(flags.sum()):,} score below {limit:.5g} "
        "and are flagged as anomalies"
    )


def opened(data: Any, model: Any) -> Any:
    """The rows as the model reads them."""
    from isthmus import runs

    source, _ = runs.opened(data, None, None, model.config, kind=runs.kind_of(model))
    runs.check_fit(model, source)
    return source


def _limit(
    model: Any, options: Mapping[str, Any], contamination: float | None, threshold: float | None
) -> float | None:
    """The threshold; None where none was asked for and the run kept no scores for one."""
    from isthmus.anatomy.thresholds import suits

    training_scores = model.config.get("scores")
    kind = options.get("kind", "auto")
    if threshold is not None:
        return threshold
    if contamination is None and (training_scores is None or not suits(training_scores, kind)):
        return None
    share = CONTAMINATION if contamination is None else contamination
    return float(model.threshold(contamination=share, kind=kind))


def _mean_shift(
    model: Any,
    folder: Path,
    source: Any,
    options: dict[str, Any],
    contamination: float | None,
    threshold: float | None,
) -> tuple["np.ndarray", float]:
    """Mean-shift scores among the training rows, and their threshold by the same scores of these.

    Training rows are no neighbours of their own; rows that are training rows are, as any other.
    """
    from isthmus.anatomy.thresholds import summary
    from isthmus.anatomy.thresholds import threshold as quantile_of
    from isthmus.recipes.anomaly.pae import mean_shift_scores

    among = options.pop("among", None) or (model.config.get("data") or {}).get("spec")
    if among is None:
        raise IsthmusError(
            f"method=mean-shift looks for neighbours among the training rows, and those of {folder}"
            " were not a file: pass among=FILE"
        )
    training = opened(among, model)
    scores = mean_shift_scores(model, source, training, **options)
    if threshold is not None:
        return scores, threshold
    training_scores = summary(mean_shift_scores(model, training, **options), "error", len(training))
    return scores, quantile_of(
        training_scores, CONTAMINATION if contamination is None else contamination
    )


def _driven(weights: "np.ndarray", names: Sequence[str], number: int) -> dict[str, list[Any]]:
    """The columns with the largest weights of each row, the first first."""
    import numpy as np

    number = min(number, weights.shape[1])
    order = np.argsort(-weights, axis=1, kind="stable")[:, :number]
    columns: dict[str, list[Any]] = {}
    for place in range(number):
        at = order[:, place]
        columns[f"driver_{place + 1}"] = [names[i] for i in at]
        columns[f"weight_{place + 1}"] = [f"{w:.4g}" for w in weights[np.arange(len(at)), at]]
    return columns
