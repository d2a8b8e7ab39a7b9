"""A dictionary of pairs: what tells the sides apart in one block, what they share in another."""

# About 55 CPU seconds a seed: three fits of 3000 steps at 5 to 6 ms, and probes.

from collections.abc import Mapping

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.evaluation import fvu
from isthmus.recipes.sparse.csae import to_dictionary
from isthmus.studies import Fit, Premise, Primary, Secondary, Tuning, claim, less, value
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.quantities import ratio
from isthmus.studies.trial import Trial

WIDTH, COMMON, DIFFERENT = 64, 96, 32
SHARED, PREFERRED, OTHERWISE = 5.0, 0.12, 0.02
PAIRS, HELD, NOISE = 16_384, 6144, 0.02
LATENTS, ACTIVE, FOUND = 256, 8.0, 0.9


def _planted(trial: Trial, count: int, stream: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pairs ``(count, width)`` of both sides, and their coefficients ``(2, count, atoms)``."""
    directions = _directions(trial)
    rng = np.random.default_rng([trial.seed, 179, stream])
    coefficients = np.zeros((2, count, COMMON + DIFFERENT), np.float32)
    on = rng.random((count, COMMON)) < SHARED / COMMON
    coefficients[:, :, :COMMON] = on * rng.uniform(0.5, 1.5, on.shape)
    odd = np.arange(DIFFERENT) % 2
    for side in (0, 1):
        chance = np.where(odd == side, PREFERRED, OTHERWISE)
        on = rng.random((count, DIFFERENT)) < chance
        coefficients[side, :, COMMON:] = on * rng.uniform(0.5, 1.5, on.shape)
    rows = coefficients @ directions
    rows += NOISE * rng.standard_normal(rows.shape).astype(np.float32)
    return {"optimal": rows[0], "suboptimal": rows[1]}, coefficients


def _directions(trial: Trial) -> np.ndarray:
    rng = np.random.default_rng([trial.seed, 179])
    rows = rng.standard_normal((COMMON + DIFFERENT, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _open(trial: Trial) -> Ground:
    seen, _ = _planted(trial, trial.rows(PAIRS), 0)
    held, truth = _planted(trial, trial.rows(HELD), 1)
    return Ground(seen, held, trial.seed, {"directions": _directions(trial), "truth": truth})


def _probes(subject: Subject, ground: Ground) -> Mapping[str, float]:
    """How well each block tells the sides apart (AUROC, on pairs that no probe was fitted to)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    codes = np.asarray(subject.encode(ground.held))
    sides = codes.reshape(len(codes), 2, -1)
    half = len(codes) // 2
    labels = np.repeat([[1, 0]], len(codes), axis=0)
    figures = {}
    for name, block in (("c", sides[:, :, : LATENTS // 2]), ("d", sides[:, :, LATENTS // 2 :])):
        seen, unseen = (part.reshape(-1, block.shape[2]) for part in (block[:half], block[half:]))
        probe = LogisticRegression(max_iter=1000).fit(seen, labels[:half].ravel())
        figures[name] = float(roc_auc_score(labels[half:].ravel(), probe.decision_function(unseen)))
    return {"auroc_c": figures["c"], "auroc_d": figures["d"], "gap": figures["d"] - figures["c"]}


def _placed(subject: Subject, ground: Ground) -> Mapping[str, float]:
    """The share of the directions that are found, and how many of these in the right block."""
    assert isinstance(subject, Autoencoder)
    atoms = np.asarray(to_dictionary(subject).atoms())
    atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True).clip(1e-12)
    cosines = ground.known["directions"] @ atoms.T
    hits = cosines.max(1) >= FOUND
    right = (cosines.argmax(1) >= LATENTS // 2) == (np.arange(COMMON + DIFFERENT) >= COMMON)
    placed = float(right[hits].mean()) if hits.any() else float("nan")
    return {"found": float(hits.mean()), "placed": placed}


def _fvu(subject: Subject, ground: Ground) -> float:
    rebuilt = subject.reconstruct(ground.held)
    sides = (
        np.concatenate([part[name] for name in ground.held]) for part in (ground.held, rebuilt)
    )
    return float(fvu(*sides).value)


def _l0(subject: Subject, ground: Ground) -> float:
    return float((np.asarray(subject.encode(ground.held)) != 0).sum(1).mean() / 2)


def _truth(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
    truth = ground.known["truth"]
    codes = np.zeros((truth.shape[1], 2, LATENTS), np.float32)
    codes[:, :, :COMMON] = truth[:, :, :COMMON].transpose(1, 0, 2)
    codes[:, :, LATENTS // 2 : LATENTS // 2 + DIFFERENT] = truth[:, :, COMMON:].transpose(1, 0, 2)
    return Known(codes.reshape(len(codes), -1))


class Known(Coded):
    """The true coefficients of the held-out pairs, as codes."""

    def __init__(self, codes: np.ndarray) -> None:
        super().__init__(lambda _: codes, lambda _: codes)

    def encode(self, X: object) -> np.ndarray:
        """The codes, whatever is asked for."""
        return self.encoder(np.empty(0))


def _dealt(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
    order = np.random.default_rng([trial.seed, 1]).permutation(len(ground.rows["optimal"]))
    rows = {**ground.rows, "suboptimal": ground.rows["suboptimal"][order]}
    return CSAE.make("csae", Ground(rows, ground.held, ground.seed, ground.known), trial)


PAIRED = Bench(
    "pairs",
    f"Pairs in {WIDTH} dimensions: {COMMON} directions that both sides share ({SHARED:g} on in a "
    f"pair, with one coefficient for both) and {DIFFERENT} that each side has by itself, of which "
    f"every other one is on in {100 * PREFERRED:.0f} % of the optimal and {100 * OTHERWISE:.0f} % "
    f"of the suboptimal sides, the rest the other way round; {PAIRS:,} pairs, {HELD:,} others, on "
    "half of which probes are fitted.",
    _open,
    {"probes": _probes, "placed": _placed, "fvu": _fvu, "l0": _l0},
)
CSAE = Fit("csae")

claim(
    "csae",
    family="sparse",
    catalogue=179,
    paper="Poupart 2024, Contrastive sparse autoencoders for interpreting planning of "
    "chess-playing agents, arXiv:2406.04028",
    statement="A dictionary that is trained on pairs with a contrast has what tells the sides "
    "apart in its differential latents and not in its common ones, where a plain dictionary's two "
    "halves tell it alike.",
    headline="Qualitative: features of Leela's plans, on pairs of optimal and suboptimal lines; "
    "no headline number. The paper's network and games are not used here.",
    recipes=("csae",),
    bench=PAIRED,
    setting=f"Width {LATENTS}, half of it common, {ACTIVE:g} active a side, 3000 steps of 256 "
    "pairs, gamma = lambda. plain is the same without the contrast.",
    arms={
        "csae": CSAE,
        "plain": Fit("csae", contrast=0.0),
        "truth": Control("positive control: the true coefficients, in their blocks", _truth),
        "dealt": Control("csae on sides that are dealt to other pairs", _dealt, "csae"),
    },
    measures=("probes", "placed", "fvu", "l0"),
    measured_only={"truth": ("probes",)},
    fit={"latent_dim": LATENTS, "l0": ACTIVE, "steps": 3000, "batch_size": 256, "lr": 1e-3},
    tuning=Tuning((1e-3, 3e-3, 9e-3), "fvu", ("csae", "plain")),
    primary=Primary(value("gap", "csae"), above=0.0, positive="truth", negative="plain"),
    premises=(
        Premise(
            value("found", "plain"), above=0.5, why="the directions are there to be found"
        ),
        Premise(ratio("fvu", "csae", to="plain"), below=1.5, why="the contrast costs little"),
    ),
    secondary=(
        Secondary(less("gap", "csae", than="plain"), above=0.0),
        Secondary(less("placed", "csae", than="dealt"), above=0.0),
        Secondary(value("auroc_d", "csae"), above=0.9, source="ours", place="nearly all of it"),
        Secondary(value("auroc_c", "csae"), below=0.6, source="ours", place="nearly nothing"),
        Secondary(value("placed", "csae"), above=0.8, source="ours", place="four in five"),
    ),
)  # fmt: skip
