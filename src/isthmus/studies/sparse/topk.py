"""TopK against a ReLU dictionary with an L1 penalty, at equal L0."""

from isthmus.studies import (
    Fit,
    Premise,
    Primary,
    Secondary,
    Tuning,
    claim,
    control,
    quantity,
    ratio,
    value,
)  # fmt: skip
from isthmus.studies.benches.planted import planted, true_dictionary

ACTIVE = 8

claim(
    "topk",
    family="sparse",
    catalogue=30,
    paper="Gao et al. 2024, Scaling and evaluating sparse autoencoders",
    statement="TopK rebuilds better than ReLU with an L1 penalty at equal L0.",
    headline="GPT-2 small, 32k latents: lower normalised MSE than ReLU at every L0 (figure 2).",
    recipes=("topk",),
    bench=planted(width=64, truths=512, active=float(ACTIVE)),
    setting="Width 512, 5000 steps of 1024 rows, AuxK at 1/32 in both; the ReLU dictionary is held "
    "at L0 = 8 by its control.",
    arms={
        "topk": Fit("topk", k=ACTIVE),
        "relu-l1": Fit("relu-l1", l0=float(ACTIVE)),
        "moved": control.moved_latents("topk"),
        "truth": true_dictionary(ACTIVE),
    },
    measures=("fvu", "l0", "dead_share", "recovery"),
    measured_only={"moved": ("fvu",), "truth": ("fvu", "l0")},
    fit={"latent_dim": 512, "steps": 5000, "batch_size": 1024, "lr": 1e-3, "average": None,
         "auxk_weight": 1 / 32},
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("topk", "relu-l1")),
    primary=Primary(
        ratio("fvu", "topk", to="relu-l1"), below=1.0, positive="truth", negative="moved"
    ),
    premises=(
        Premise(
            quantity(
                "L0 of relu-l1, relative to k, from 1",
                lambda f: abs(f["relu-l1"]["l0"] / f["topk"]["l0"] - 1.0),
            ),
            below=0.05,
            why="the arms are compared at equal L0",
        ),
    ),
    secondary=(
        Secondary(
            value("dead_share", "topk"),
            below=0.1,
            source="paper",
            place="section 2.4: 7 % dead of 16 million latents",
        ),
    ),
)  # fmt: skip
