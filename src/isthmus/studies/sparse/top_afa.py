"""top-AFA, which chooses each row's number of latents, against TopK at the mean of them."""

# About 60 CPU seconds a seed: four fits of 1000 steps at 5 to 20 ms, and the activations.

from dataclasses import replace

from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment
from isthmus.studies.arms import Fit
from isthmus.studies.benches.language import NEEDS, WIDTHS, language
from isthmus.studies.quantities import apart, less, ratio, value

BENCH = language(fitted=100_000)
MEASURES = ("fvu", "l0", "dead_share", "losses")
SHARED = {
    "latent_dim": 768, "steps": 1000, "batch_size": 512, "average": None, "auxk_weight": 1 / 32,
    "scaling": "rows", "lr": 1.6e-3,
}  # fmt: skip


@experiment(
    "top-afa",
    family="sparse",
    catalogue=206,
    paper="Lee, Davies, Canby, Hockenmaier 2025, Evaluating and Designing Sparse Autoencoders by "
    "Approximating Quasi-Orthogonality, arXiv:2503.24277",
    statement="Activating as many latents as the length of a row asks for needs no k and rebuilds "
    "no worse than TopK at the same mean L0: it lies on or below TopK's front.",
    headline="GPT-2, three middle layers, 80 million tokens: reconstruction loss comparable to "
    "that of TopK dictionaries, without a k to tune (abstract of the first version); no number.",
    recipes=("top-afa", "topk"),
    needs=NEEDS,
    reading="Top-AFA asks for as many latents as make up the length of a row, and here that is "
    "170 of 192 elements, where TopK rebuilds all but everything. From half to the full budget "
    "its error fell from 7.8 to 2.7 times TopK's, and it is still falling: nothing is said yet.",
    setting=f"{BENCH.setting} Width 768, 1000 steps of 512 tokens; rows brought to mean 0 and "
    "variance 1 each, in all arms. TopK gets the mean L0 of the top-AFA dictionary of the same "
    "seed, rounded, on the tokens that are measured on: a point of its front. Since the paper "
    "gives no margin for “comparable”, what is checked is that the error is lower.",
    arms={
        "top-afa": "top-AFA, weight 1/32 of the length's error",
        "topk": "TopK, k the mean L0 of top-afa",
        "topk again": "control: topk once more, from another seed",
        "denser": "positive control: TopK with a k twice as large",
    },
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("top-afa", "topk")),
    primary=Primary(
        ratio("fvu", "top-afa", to="topk"), below=1.0, positive="denser", negative="topk again"
    ),
    premises=(
        Premise(
            apart("l0", "topk", to="top-afa"),
            below=0.05,
            why="the errors are compared at equal L0",
        ),
        Premise(
            value("l0", "top-afa"), below=float(WIDTHS["resident"]),
            why="a code of as many numbers as the row has could hold it without being sparse",
        ),
        Premise(value("fvu", "topk"), below=0.5, why="the rival explains most of the variance"),
    ),
    secondary=(
        Secondary(less("added_ce", "top-afa", than="topk"), below=0.0),
        Secondary(less("dead_share", "top-afa", than="topk"), below=0.0),
    ),
)  # fmt: skip
def top_afa(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: the dictionary that chooses, then those that are told."""
    trial = replace(trial, shared=SHARED)
    ground = BENCH.open(trial)
    chosen_by_row = Fit("top-afa").make("top-afa", ground, trial)
    figures = {"top-afa": BENCH.measured(chosen_by_row, ground, MEASURES)}
    k = max(1, round(figures["top-afa"]["l0"]))
    topk = Fit("topk", k=k)
    figures["topk"] = BENCH.measured(topk.make("topk", ground, trial), ground, MEASURES)
    others = {
        "topk again": topk.make("topk", ground, trial, seed=trial.seed + 1000),
        "denser": Fit("topk", k=2 * k).make("topk", ground, trial),
    }
    for arm, model in others.items():
        figures[arm] = BENCH.measured(model, ground, ("fvu", "l0"))
    return figures
