"""Four kinds of dictionary of a language model, each against its rival at equal L0."""

# About 25 CPU seconds a fit, thirteen different fits a seed, shared by the four claims.
from collections.abc import Sequence
from typing import Any

from isthmus.studies import (
    Claim,
    Fit,
    Premise,
    Primary,
    Secondary,
    Tuning,
    claim,
    control,
    quantity,
    ratio,
)  # fmt: skip
from isthmus.studies.benches.language import language

FIT: dict[str, Any] = {
    "latent_dim": 768, "steps": 2000, "batch_size": 1024, "lr_schedule": "linear", "average": None,
    "auxk_weight": 1 / 32,
}  # fmt: skip
GRID = (4e-4, 1.6e-3, 6.4e-3)
ARMS = {
    "topk": Fit("topk", k=16),
    "topk-32": Fit("topk", k=32),
    "batchtopk": Fit("batchtopk", k=16),
    "batchtopk-32": Fit("batchtopk", k=32),
    "jumprelu": Fit("jumprelu", l0=16.0),
    "jumprelu-32": Fit("jumprelu", l0=32.0),
    "gated": Fit("gated", l0=16.0),
    "gated-32": Fit("gated", l0=32.0),
    "relu-l1": Fit("relu-l1", l0=16.0),
    "relu-l1-32": Fit("relu-l1", l0=32.0),
}


def _near(arm: str) -> Premise:
    return Premise(
        quantity(f"L0 of {arm} relative to 16, from 1", lambda f: abs(f[arm]["l0"] / 16.0 - 1.0)),
        below=0.05, why="the arms are compared at equal L0",
    )  # fmt: skip


def _frontier(
    name: str, method: str, rival: str, measure: str, others: Sequence[str] = (), **about: Any
) -> Claim:
    """A method against its rival at L0 = 16, and beside it at 32 and against others."""
    names = (method, f"{method}-32", rival, *others)
    arms = {arm: ARMS[arm] for arm in names}
    again = f"{rival}-again"
    return claim(
        name,
        family="sparse",
        bench=language(),
        setting="Width 768, 2,000 steps of 1,024 tokens, a rate from one grid for each arm, "
        "falling to zero. L0 is 16 of 768, held by a control where a penalty decides it. All "
        "kinds have the same help for dead latents, AuxK of weight 1/32.",
        arms={**arms, again: control.another_seed(ARMS[rival], rival)},
        measures=("fvu", "l0", "dead_share", "losses"),
        fit=FIT,
        tuning=Tuning(GRID, "fvu", names),
        primary=Primary(
            ratio(measure, method, to=rival), below=1.0, positive=f"{method}-32", negative=again
        ),
        premises=(_near(method), _near(rival)),
        secondary=tuple(
            Secondary(ratio(one, method, to=other), below=1.0)
            for other in (rival, *others)
            for one in ("fvu", "added_ce")
            if (other, one) != (rival, measure) and not other.endswith("-32")
        ) + tuple(
            Secondary(ratio(measure, f"{method}-32", to=other), below=1.0)
            for other in others if other.endswith("-32")
        ),
        **about,
    )  # fmt: skip


_frontier(
    "topk-language", "topk", "relu-l1", "fvu", ("relu-l1-32",),
    catalogue=30,
    paper="Gao et al. 2024, Scaling and evaluating sparse autoencoders",
    statement="On a language model's activations TopK rebuilds better than ReLU with an L1 penalty "
    "at equal L0.",
    headline="GPT-2 small and GPT-4: lower normalised error than ReLU at every L0 (figure 2).",
    recipes=("topk",),
)  # fmt: skip

_frontier(
    "jumprelu", "jumprelu", "gated", "added_ce", ("topk", "relu-l1"),
    catalogue=163,
    paper="Rajamanoharan et al. 2024, Jumping Ahead: Improving Reconstruction Fidelity with "
    "JumpReLU Sparse Autoencoders",
    statement="At equal L0 JumpReLU is more faithful to the language model than Gated and TopK "
    "dictionaries.",
    headline="Gemma 2 9B, 131,072 latents: state of the art of fidelity at a given sparsity, "
    "compared to Gated and TopK (abstract); at or above them at each L0 (figure 2).",
    recipes=("jumprelu",),
)  # fmt: skip

_frontier(
    "gated", "gated", "relu-l1", "added_ce", ("relu-l1-32",),
    catalogue=None,
    paper="Rajamanoharan et al. 2024, Improving Dictionary Learning with Gated Sparse Autoencoders",
    statement="Separating which latents are on from how strong they are is a Pareto improvement on "
    "ReLU with an L1 penalty: more of the loss recovered at equal L0.",
    headline="GELU-1L, Pythia-2.8B and Gemma-7B: about half as many firing features for comparable "
    "fidelity (abstract).",
    recipes=("gated",),
)  # fmt: skip

_frontier(
    "batchtopk", "batchtopk", "topk", "fvu",
    catalogue=None,
    paper="Bussmann, Leask, Nanda 2024, BatchTopK Sparse Autoencoders",
    statement="Letting the number of active latents vary from row to row at the same mean rebuilds "
    "better than TopK.",
    headline="GPT-2 small and Gemma 2 2B: lower normalised error and added cross-entropy than TopK "
    "at every sparsity (figures 2 and 3).",
    recipes=("batchtopk",),
)  # fmt: skip
