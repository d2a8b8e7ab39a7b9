"""``isthmus plan``: what a training run would take on machines that are not here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isthmus.cli import completion
from isthmus.cli.common import Options, out, parse_options
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from isthmus.roofline import TrainingPlan

app = typer.Typer(no_args_is_help=True, help="What training takes on machines that are not here.")
ROWS = 8192
"""Rows of a batch for each rank of a node, where nothing is said."""


@app.callback()
def plans() -> None:
    """What training takes on machines that are not here."""


@app.command()
def fit(
    recipe: Annotated[
        str, typer.Argument(help="a sparse dictionary", autocompletion=completion.recipes)
    ],
    options: Options = None,
    d: Annotated[int, typer.Option("--d", min=1, help="elements of a row")] = 4096,
    width: Annotated[int, typer.Option(min=1, help="latents")] = 131072,
    k: Annotated[int | None, typer.Option("--k", min=1, help="active latents of a row")] = None,
    tokens: Annotated[float, typer.Option(help="rows to train on, as 8e9")] = 1e9,
    batch: Annotated[int | None, typer.Option(min=1, help="rows of a step, of all ranks")] = None,
    device: Annotated[str, typer.Option(help="h200, h100, a100, or here, which is timed")] = "h200",
    ranks: Annotated[int, typer.Option(min=1, help="accelerators that share the latents")] = 1,
    dtype: Annotated[
        str, typer.Option(help="of stored activations: float16, int8, ...")
    ] = "float16",
    host: Annotated[
        float | None, typer.Option(metavar="N", help="parameters of the language model, as 8e9")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="draw where the time goes")
    ] = None,
) -> None:
    """Say what training a sparse dictionary takes: time, memory, network and storage.

    Of other machines all is estimated, from what moves and what is computed; --device here times a
    few small steps of the recipe, for which options follow as NAME=VALUE.
    """
    from isthmus.roofline import Shape, machine, planned
    from isthmus.roofline.here import measured, this_machine

    choices = parse_options(options)
    active = k or _active(recipe)
    shape = Shape(d, width, active, batch or ROWS * min(ranks, 8))
    timed = device.strip().lower() == "here"
    if choices and not timed:
        raise IsthmusError(
            f"{next(iter(choices))} changes steps that are timed, and {device} is not here: leave "
            "it out, or plan for --device here"
        )
    if host is not None and timed:
        raise IsthmusError(
            "how fast this machine harvests is not estimated: leave out --host, or plan for "
            "--device h200"
        )
    if plot is not None:
        from isthmus.pictures.sheet import check_png

        check_png(plot)
    place = this_machine() if timed else machine(device)
    # Everything is checked before anything is timed.
    plan = planned(shape, tokens, place if not timed else machine("h200"), ranks, dtype=dtype)
    if timed:
        shares = measured(recipe, shape, choices)
        plan = planned(shape, tokens, place, ranks, dtype=dtype, measured=shares)
    elif host is not None:
        plan = planned(shape, tokens, place, ranks, dtype=dtype, host_parameters=host)
    out.print(shown(plan, tokens))
    if plot is not None:
        from isthmus.pictures.plan_chart import chart

        out.print(f"drawn in {chart(plan, tokens).save(plot)}", markup=False)


def _active(name: str) -> int:
    """The latents of a row that a recipe has active where nothing is said."""
    from isthmus.recipes import as_recipe, list_recipes

    def k_of(recipe: str) -> int | None:
        field = as_recipe(recipe).model_options.model_fields.get("k")
        return None if field is None or not isinstance(field.default, int) else field.default

    number = k_of(name)
    if number is None:
        known = [one for one in list_recipes() if k_of(one) is not None]
        if name in list_recipes() and as_recipe(name).family == "sparse":
            raise IsthmusError(
                f"{name} does not say how many latents of a row are active: add --k N"
            )
        raise unknown("recipe with k active latents", name, known)
    return number


def shown(plan: "TrainingPlan", tokens: float) -> RenderableType:
    """A table of the step's parts, and what the whole run takes."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("part of a step", "ms", "share", "bound by"):
        grid.add_column(
            column, justify="left" if column in ("part of a step", "bound by") else "right"
        )
    for share in plan.shares:
        grid.add_row(share.name, f"{1e3 * share.seconds:,.3g}",
                     f"{share.seconds / plan.step_seconds:.0%}", share.bound)  # fmt: skip
    grid.add_row("all", f"{1e3 * plan.step_seconds:,.4g}", "100%", "", style="bold")
    whole = Table(box=None, pad_edge=False, show_header=False)
    whole.add_column()
    whole.add_column()
    shape = plan.shape
    rows = {
        "what": f"{shape.d:,} to {shape.width:,} latents, {shape.k} active, "
        f"{shape.batch:,} rows a step",
        "where": f"{plan.ranks:,} x {plan.device.name}",
        "time": f"{plan.seconds / 3600:,.3g} h: {plan.steps:,} steps, "
        f"{shape.batch / plan.step_seconds:,.3g} rows a second",
        "memory of a rank": f"{plan.memory_bytes / 1e9:,.3g} of "
        f"{plan.device.memory_bytes / 1e9:,.3g} GB"
        + ("" if plan.fits else ": it does not fit, so use more ranks"),
        "network of a rank": f"{plan.sent / 1e9:,.3g} GB a step",
        "feed of a rank": f"{plan.feed / 1e9:,.3g} GB a second",
        "storage": f"{plan.stored / 1e12:,.3g} TB of activations, "
        f"{plan.checkpoint / 1e9:,.3g} GB a checkpoint",
    }  # fmt: skip
    if plan.ranks == 1:
        del rows["network of a rank"]
    if plan.harvest is not None:
        rows["harvest"] = f"{plan.harvest / 3600:,.3g} h of one such device"
    for name, text in rows.items():
        whole.add_row(name, text)
    note = (
        "The step is of small dictionaries timed here, carried on to these latents; the rest is "
        "counted."
        if plan.timed
        else "All is estimated from what moves and what is computed: nothing was measured on such "
        "machines, nothing is hidden behind anything else, and dead latents cost nothing."
    )  # fmt: skip
    return Group(whole, Text(""), grid, Text(""), Text(note, style="dim"))
