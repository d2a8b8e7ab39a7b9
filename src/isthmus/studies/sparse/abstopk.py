"""AbsTopK against TopK at equal k, on data whose coefficients have two signs."""

# About 1.5 CPU minutes a seed: four fits of 5000 steps at 3 to 5 ms.

from isthmus.studies import Fit, Premise, Primary, Secondary, Tuning, claim, control, less
from isthmus.studies.benches.planted import planted, true_dictionary
from isthmus.studies.quantities import quantity, ratio, value

ACTIVE = 4
SHARED = {"latent_dim": 128, "steps": 5000, "batch_size": 1024, "lr": 1.6e-3, "average": None}
TOPK = Fit("topk", k=ACTIVE)

claim(
    "abstopk",
    family="sparse",
    catalogue=231,
    paper="Zhu, Khalili, Zhu 2025, AbsTopK: Rethinking Sparse Autoencoders For Bidirectional "
    "Features",
    statement="Keeping the k latents of the largest absolute value, with their sign, rebuilds "
    "better than TopK at equal k, because one latent carries both poles of a concept.",
    headline="No number in the abstract: over four language models and seven tasks, better "
    "reconstruction than TopK and JumpReLU, and single features that encode contrasting concepts.",
    recipes=("abstopk",),
    bench=planted(
        width=32, truths=64, active=float(ACTIVE), magnitudes=(-1.5, 1.5),
        about="4 active, coefficients uniform from -1.5 to 1.5",
    ),
    reading="The two rebuild alike to about one per cent: with room for both poles TopK spends a "
    "pair of opposite latents on each direction, which costs width and no error, while AbsTopK "
    "needs one latent for both and leaves the rest of this width dead.",
    setting="Width 128, room for both poles of every direction; 5000 steps of 1024 rows. JumpReLU "
    "is held at L0 = 4. Planted signs stand in for the language models' contrasting concepts; "
    "steering is not tried.",
    arms={
        "abstopk": Fit("abstopk", k=ACTIVE),
        "topk": TOPK,
        "jumprelu": Fit("jumprelu", l0=float(ACTIVE)),
        "topk again": control.another_seed(TOPK, "topk"),
        "truth": true_dictionary(ACTIVE),
    },
    measures=("fvu", "l0", "dead_share", "axis_recovery", "antipodal"),
    measured_only={"topk again": ("fvu",), "truth": ("fvu", "l0")},
    fit=SHARED,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("abstopk", "topk", "jumprelu")),
    primary=Primary(
        ratio("fvu", "abstopk", to="topk"), below=1.0, positive="truth", negative="topk again"
    ),
    premises=(
        Premise(
            quantity(
                "L0 of abstopk, relative to topk, from 1",
                lambda f: abs(f["abstopk"]["l0"] / f["topk"]["l0"] - 1.0),
            ),
            below=0.05,
            why="the arms are compared at equal L0, and TopK leaves places empty where fewer "
            "latents are positive",
        ),
    ),
    secondary=(
        Secondary(less("antipodal", "abstopk", than="topk"), below=0.0),
        Secondary(ratio("fvu", "abstopk", to="jumprelu"), below=1.0),
        Secondary(
            value("axis_recovery", "abstopk"), above=0.95, source="ours",
            place="all but a few directions, as axes",
        ),
    ),
)  # fmt: skip
