"""Group bias adaptation: groups of latents with rates of their own against one rate for all."""

# About 70 CPU seconds a seed: four fits of 3000 steps at 4 to 6 ms.

import numpy as np

from isthmus.studies import Fit, Premise, Primary, Secondary, Tuning, claim, control, less, value
from isthmus.studies.benches.atoms import with_atoms
from isthmus.studies.benches.planted import planted, true_features
from isthmus.studies.quantities import quantity

FREQUENCIES = np.geomspace(0.1, 0.005, 96)
GROUPS, HIGHEST, LOWEST = 5, 0.1, 0.006
MEAN_RATE = float(np.geomspace(HIGHEST, LOWEST, GROUPS).mean())
ONE_GROUP = Fit("gba", rates=1, highest=MEAN_RATE)

claim(
    "gba",
    family="sparse",
    catalogue=213,
    paper="Chen, Sheen, Xiong, Wang, Yang 2025, Taming Polysemanticity in LLMs: Provable Feature "
    "Recovery via Sparse Autoencoders, arXiv:2506.14002",
    statement="A latent learns a feature whose frequency its own rate matches; latents in groups "
    "of different target rates therefore find more of the true features than latents of one rate.",
    headline="A theorem of recovery for bias adaptation under the paper's model of data; the "
    "grouped variant is the practical one, up to 1.5 billion parameters, without a number in the "
    "abstract.",
    reading="On four of five seeds five groups find 7 to 21 points more of the features than one. "
    "On the fifth the rule loses its hold: 131 latents are on in place of 12, and no feature is "
    "found at the cosine asked for. There the decoder's bias runs away within 150 steps, faster "
    "than the rule may move; the rate, chosen at the grid's edge, is what lets it: at 0.0016, or "
    "with that bias held where it starts, the same seed has 12 on and finds 75 to 81 %.",
    recipes=("gba",),
    bench=with_atoms(
        planted(
            width=64, truths=96, frequencies=FREQUENCIES,
            about="each on in 0.5 to 10 % of the rows, log-spaced, 3.0 in the mean row",
        )
    ),
    setting=f"Width 480, 3000 steps of 512 rows. {GROUPS} groups of target rates from {HIGHEST} to "
    f"{LOWEST}, against one group at their mean {MEAN_RATE:.3f}, which allows as many active "
    "latents in all. TopK is told how many directions are on.",
    arms={
        "gba": Fit("gba", rates=GROUPS, highest=HIGHEST, lowest=LOWEST),
        "one group": ONE_GROUP,
        "one group again": control.another_seed(ONE_GROUP, "one group"),
        "topk": Fit("topk", k=3),
        "truth": true_features(),
    },
    measures=("found", "mean_cosine", "recovery", "fvu", "l0", "dead_share"),
    measured_only={"one group again": ("found",), "truth": ("found", "mean_cosine")},
    fit={"latent_dim": 480, "steps": 3000, "batch_size": 512, "lr": 1.6e-3, "average": None},
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("gba", "one group", "topk")),
    primary=Primary(
        less("found", "gba", than="one group"),
        above=0.0, positive="truth", negative="one group again",
    ),
    premises=(
        Premise(
            value("found", "topk"), above=0.5,
            why="features that a rival cannot find either may not be there to be found",
        ),
        Premise(
            quantity(
                "larger of the errors (FVU) of gba and one group",
                lambda f: max(f["gba"]["fvu"], f["one group"]["fvu"]),
            ),
            below=0.5,
            why="both have learnt to rebuild the rows",
        ),
    ),
    secondary=(
        Secondary(less("mean_cosine", "gba", than="one group"), above=0.0),
        Secondary(less("found", "gba", than="topk"), above=0.0),
        Secondary(
            value("found", "gba"), above=0.85, source="ours",
            place="the theorem says all of them, for bias adaptation under the paper's assumptions",
        ),
    ),
)  # fmt: skip
