"""``isthmus similarity``: how alike two representations of the same rows are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli import completion
from isthmus.cli.common import out
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    import numpy as np

    from isthmus.evaluation import Result

SEED = 0
"""Of the rows that are drawn where there are more than are asked for."""


def similarity(
    first: Annotated[str, typer.Argument(metavar="A", help="data, or with --data a run")],
    second: Annotated[str, typer.Argument(metavar="B", help="data, or with --data a run")],
    data: Annotated[
        str | None,
        typer.Option(
            help="compare the codes that the runs A and B give these data",
            autocompletion=completion.data,
        ),
    ] = None,
    measures: Annotated[
        str | None, typer.Option(help="some of the measures, by name, with commas between")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=20, help="rows at most, of more as many at random")
    ] = 2000,
) -> None:
    """Compare two representations of the same rows: CKA, CCA, RSA, matched units, stitching.

    A and B are data of equally many rows (arrays of activations or codes), or with --data two runs,
    whose codes are compared. Columns need not be as many.
    """
    from isthmus.evaluation import with_estimators

    known = all_measures()
    names = list(known) if measures is None else [name.strip() for name in measures.split(",")]
    for name in names:
        if name not in known:
            raise unknown("measure of similarity", name, known)
    a, b = (representation(spec, data) for spec in (first, second))
    if len(a) != len(b):
        raise IsthmusError(
            f"{first} has {len(a):,} rows and {second} {len(b):,}: the same rows of both are "
            "compared, so pass as many of one as of the other"
        )
    if len(a) > rows:
        import numpy as np

        drawn = np.sort(np.random.default_rng(SEED).permutation(len(a))[:rows])
        out.print(f"{rows:,} of {len(a):,} rows, drawn at random (--rows for more)")
        a, b = a[drawn], b[drawn]
    out.print(f"{escape(first)} {a.shape} and {escape(second)} {b.shape}")
    out.print(with_estimators({name: known[name](a, b) for name in names}))


def all_measures() -> "dict[str, Callable[[np.ndarray, np.ndarray], Result]]":
    """The measures with their usual options, by the names of the command line."""
    from functools import partial

    from isthmus.evaluation import similarity as of

    return {
        "cka": partial(of.cka, debiased=True),
        "rbf-cka": partial(of.cka, kernel="rbf", debiased=True),
        "cca": of.cca,
        "svcca": of.svcca,
        "pwcca": of.pwcca,
        "rsa": partial(of.rsa, distance="euclidean"),
        "matched-units": of.matched_units,
        "semi-matched-units": partial(of.matched_units, matching="semi"),
        "procrustes": of.procrustes,
        "shape-distance": of.shape_distance,
        "stitching": of.stitching,
    }


def representation(spec: str, data: str | None) -> "np.ndarray":
    """Rows ``(n, elements)`` of the data of that name, or what a run's codes of ``data`` are."""
    from pathlib import Path

    import torch

    from isthmus import runs
    from isthmus.data import as_source
    from isthmus.runs import kind_of, opened
    from isthmus.training.checkpoint import CONFIG
    from isthmus.training.journal import located

    if data is not None:
        model = runs.load(spec)
        source, _ = opened(data, None, None, model.config, kind=kind_of(model))
        return model.encode(source, code=True).z.flatten(1).double().numpy()
    if located(Path(spec), CONFIG).exists():
        raise IsthmusError(
            f"{spec} is a run: add --data DATA for the codes that it gives to these data"
        )
    source = as_source(spec)
    x = source.batch(torch.arange(len(source))).x
    if not isinstance(x, torch.Tensor) or not source.signal.is_real:
        raise IsthmusError(f"{spec} is no array of numbers: name one, or encode it first")
    return x.flatten(1).double().numpy()
