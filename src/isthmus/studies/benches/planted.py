"""Planted dictionaries: rows that are sparse sums of known directions."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Code, linear_decoder
from isthmus.bottlenecks import TopK
from isthmus.data import Planted
from isthmus.evaluation import Absorption, fvu, recovery
from isthmus.recipes.sparse.msae import NestedTopK
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.trial import Trial

ROWS, HELD = 1 << 17, 8192

LEVELS = (4, 16, 64)
"""Numbers of active latents that ``fvu_by_k`` has, whatever a dictionary was trained for."""

ANTIPODAL = -0.9
"""A latent has an opposite where another atom's cosine with its own is below this."""


def planted(
    *, width: int = 64, truths: int = 512, active: float = 8.0, rows: int = ROWS, held: int = HELD,
    about: str = "", **options: object,
) -> Bench:  # fmt: skip
    """A bench of planted data, one draw of directions and rows for each seed.

    ``options`` are those of :class:`isthmus.data.Planted`, ``about`` is what they mean, in place
    of the number of active directions. ``known`` has ``planted``.
    """

    def open_ground(trial: Trial) -> Ground:
        sampler = Planted(width=width, truths=truths, active=active, seed=trial.seed, **options)  # type: ignore[arg-type]
        seen = sampler.sample(trial.rows(rows), 0)[0]
        return Ground(
            seen, sampler.sample(trial.rows(held), 1)[0], trial.seed, {"planted": sampler}
        )

    setting = (
        f"Planted data: {truths} directions in {width} dimensions, {about or f'{active:g} active'};"
        f" {rows} rows, {held} others to measure on."
    )
    return Bench("planted", setting, open_ground, MEASURES)


def _fvu(subject: Subject, ground: Ground) -> float:
    return float(fvu(ground.held, np.asarray(subject.reconstruct(ground.held))).value)


def _fvu_by_k(subject: Subject, ground: Ground) -> dict[str, float]:
    """The error with other numbers of active latents, and the geometric mean over them."""
    assert isinstance(subject, Autoencoder)
    errors = {f"fvu_k{k}": _fvu(with_active(subject, k), ground) for k in LEVELS}
    return {**errors, "fvu_all_k": math.exp(sum(map(math.log, errors.values())) / len(errors))}


def with_active(model: Autoencoder, k: int) -> Autoencoder:
    """The same weights with the ``k`` largest latents of a row."""
    copied = copy.deepcopy(model)
    bottleneck = copied.bottleneck
    if isinstance(bottleneck, NestedTopK):
        bottleneck.use(k)
    else:
        assert isinstance(bottleneck, TopK)
        bottleneck.k = k
    return copied


def _l0(subject: Subject, ground: Ground) -> float:
    return float((np.asarray(subject.encode(ground.held)) != 0).sum(1).mean())


def _dead_share(subject: Subject, ground: Ground) -> float:
    """Share of the latents that are silent on all held-out rows."""
    return float(1.0 - (np.asarray(subject.encode(ground.held)) != 0).any(0).mean())


def _recovery(subject: Subject, ground: Ground) -> float:
    """Share of the truths that an atom has at a cosine of 0.9 or more."""
    return _recovered(subject, ground, signed=False)


def _axis_recovery(subject: Subject, ground: Ground) -> float:
    """The same where an atom's opposite counts as well."""
    return _recovered(subject, ground, signed=True)


def _recovered(subject: Subject, ground: Ground, *, signed: bool) -> float:
    if not isinstance(subject, Autoencoder):
        return float("nan")
    atoms = linear_decoder(subject).atoms().detach().numpy()
    return float(recovery(atoms, ground.known["planted"].directions, signed=signed).value)


def _antipodal(subject: Subject, _: Ground) -> float:
    """Share of the latents whose opposite is an atom too."""
    assert isinstance(subject, Autoencoder)
    atoms = torch.nn.functional.normalize(linear_decoder(subject).atoms().detach(), dim=1)
    return float(((atoms @ atoms.T) < ANTIPODAL).any(1).double().mean())


def _absorption(subject: Subject, ground: Ground) -> dict[str, float]:
    """Feature absorption on a planted tree, and how often a parent's latents are silent."""
    sampler = ground.known["planted"]
    coefficients = sampler.sample(len(ground.held), 1)[1]
    judged = Absorption(cast(Autoencoder, subject), ground.held, coefficients, sampler.parents)
    return {"absorption": judged.rate().value, "silence": judged.silence().value}


MEASURES: Mapping[str, Callable[[Subject, Ground], float | Mapping[str, float]]] = {
    "fvu": _fvu, "fvu_by_k": _fvu_by_k, "l0": _l0, "dead_share": _dead_share,
    "recovery": _recovery, "axis_recovery": _axis_recovery, "antipodal": _antipodal,
    "absorption": _absorption,
}  # fmt: skip


def true_dictionary(active: int) -> Control:
    """The planted directions themselves, with a row's ``active`` largest true coefficients.

    The codes of held-out rows are known, those of others are not: it is measured on these alone.
    """

    def make(_: object, ground: Ground, trial: Trial) -> Subject:
        sampler = ground.known["planted"]
        truth = sampler.sample(len(ground.held), 1)[1]
        codes = np.asarray(truth.toarray() if hasattr(truth, "toarray") else truth)
        if codes.shape[1] > active:
            sizes = np.abs(codes)
            least = np.partition(sizes, -active, axis=1)[:, -active, None]
            codes = np.where((sizes >= least) & (codes != 0), codes, 0.0)
        directions = np.asarray(sampler.directions)
        offset = ground.held.mean(0) - (codes @ directions).mean(0)
        return Coded(lambda _rows: codes, lambda z: z @ directions + offset)

    return Control(f"positive control: the true directions and their {active} largest coefficients",
                   make)  # fmt: skip


class KnownDictionary:
    """A dictionary of given atoms ``(latents, elements)`` and a given encoder of rows.

    It has what measures of dictionaries ask of a model: codes and atoms.
    """

    def __init__(
        self, atoms: np.ndarray, encoder: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        self._atoms = np.asarray(atoms, np.float32)
        self._encoder = encoder or self.read

    def read(self, rows: np.ndarray) -> np.ndarray:
        """What orthogonal atoms of norm 1 are present with, less what is below a hundredth."""
        codes = rows @ self._atoms.T
        return np.where(codes > 0.01, codes, 0.0)

    def encode(self, X: Any, *, code: bool = False, batch_size: int = 0) -> Any:
        """Codes ``(rows, latents)``: an array, or a :class:`Code` with ``code``."""
        z = self._encoder(np.asarray(X)).astype(np.float32)
        return Code(torch.from_numpy(z)) if code else z

    def decode(self, Z: Any) -> np.ndarray:
        """Rows of codes."""
        return np.asarray(Z) @ self._atoms

    def reconstruct(self, X: Any) -> np.ndarray:
        """Rows, through the code."""
        return self.decode(self.encode(X))

    def atoms(self) -> torch.Tensor:
        """``(latents, elements)``."""
        return torch.from_numpy(self._atoms)


def true_features() -> Control:
    """The planted directions, orthogonal ones, each with a latent that reads it exactly."""

    def make(_: object, ground: Ground, trial: Trial) -> Subject:
        return KnownDictionary(ground.known["planted"].directions)

    return Control("positive control: the true directions, each read by a latent of its own", make)


__all__ = ["MEASURES", "KnownDictionary", "planted", "true_dictionary", "true_features",
           "with_active"]  # fmt: skip
