"""A plan of training, drawn: where the time of a step goes, on one rank and on more."""

from collections.abc import Sequence
from typing import Any

from isthmus.pictures.sheet import COLOURS, INK, MUTED, RULE, Panel, Picture
from isthmus.roofline import Machine, Shape, TrainingPlan, planned


def chart(plan: TrainingPlan, tokens: float) -> Picture:
    """Bars of the step's parts: of this plan, and of the same with 1, 2, 4, ... ranks before it.

    A plan that was timed has one bar: it is that of this machine.
    """
    plans = [plan] if plan.timed else _fewer(plan.shape, plan.device, plan.ranks, tokens)
    shape = plan.shape
    about = "timed here" if plan.timed else "estimated by the roofline, not measured"
    title = (
        f"{shape.d:,} to {shape.width:,}, k {shape.k}, {shape.batch:,} rows on {plan.device.name}"
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        names = list(dict.fromkeys(share.name for one in plans for share in one.shares))
        for place, one in enumerate(plans):
            left = 0.0
            for share in one.shares:
                colour = COLOURS[names.index(share.name) % len(COLOURS)]
                axes.barh(place, 1e3 * share.seconds, left=left, color=colour, height=0.7)
                left += 1e3 * share.seconds
            axes.text(left, place, f" {one.seconds / 3600:,.3g} h", va="center", color=MUTED,
                      fontsize=7)  # fmt: skip
        for number, name in enumerate(names):
            axes.barh(0, 0.0, color=COLOURS[number % len(COLOURS)], label=name)
        axes.set_yticks(range(len(plans)), [_ranks(one.ranks) for one in plans], fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(f"ms a step ({about}); the whole run at the end", fontsize=8, color=INK)
        axes.tick_params(axis="x", labelsize=8, colors=MUTED)
        axes.legend(fontsize=7, frameon=False, loc="lower right")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(RULE)

    panel = Panel("", 1.2 + 0.35 * len(plans), draw)
    return Picture((panel,), f"a step of {title}, {about}", title)


def _fewer(shape: Shape, device: Machine, ranks: int, tokens: float) -> Sequence[TrainingPlan]:
    counts = [1 << power for power in range(ranks.bit_length()) if 1 << power < ranks]
    return [planned(shape, tokens, device, count) for count in (*counts, ranks)]


def _ranks(number: int) -> str:
    return f"{number:,} rank" + ("s" if number > 1 else "")
