"""Planted dictionaries: rows that are sparse sums of known directions."""

import numpy as np

from isthmus.anatomy import Autoencoder, linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import fvu, recovery
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.trial import Trial

ROWS, HELD = 1 << 17, 8192


def planted(
    *, width: int = 64, truths: int = 512, active: float = 8.0, rows: int = ROWS, held: int = HELD,
    **options: object,
) -> Bench:  # fmt: skip
    """A bench of planted data, one draw of directions and rows for each seed.

    ``options`` are those of :class:`isthmus.data.Planted`. ``known`` has ``planted``.
    """

    def open_ground(trial: Trial) -> Ground:
        made = Planted(width=width, truths=truths, active=active, seed=trial.seed, **options)  # type: ignore[arg-type]
        seen = made.sample(trial.rows(rows), 0)[0]
        return Ground(seen, made.sample(trial.rows(held), 1)[0], trial.seed, {"planted": made})

    setting = (
        f"Planted data: {truths} directions in {width} dimensions, {active:g} active; {rows} rows, "
        f"{held} others to measure on."
    )
    return Bench("planted", setting, open_ground, MEASURES)


def _fvu(subject: Subject, ground: Ground) -> float:
    return float(fvu(ground.held, np.asarray(subject.reconstruct(ground.held))).value)


def _l0(subject: Subject, ground: Ground) -> float:
    return float((np.asarray(subject.encode(ground.held)) != 0).sum(1).mean())


def _dead_share(subject: Subject, ground: Ground) -> float:
    """Share of the latents that are silent on all held-out rows."""
    return float(1.0 - (np.asarray(subject.encode(ground.held)) != 0).any(0).mean())


def _recovery(subject: Subject, ground: Ground) -> float:
    """Share of the truths that an atom has at a cosine of 0.9 or more."""
    if not isinstance(subject, Autoencoder):
        return float("nan")
    atoms = linear_decoder(subject).atoms().detach().numpy()
    return float(recovery(atoms, ground.known["planted"].directions).value)


MEASURES = {"fvu": _fvu, "l0": _l0, "dead_share": _dead_share, "recovery": _recovery}


def true_dictionary(active: int) -> Control:
    """The planted directions themselves, with the ``active`` largest true coefficients of a row.

    The codes of held-out rows are known, those of others are not: it is measured on these alone.
    """

    def make(_: object, ground: Ground, trial: Trial) -> Subject:
        made = ground.known["planted"]
        truth = made.sample(len(ground.held), 1)[1]
        codes = np.asarray(truth.toarray() if hasattr(truth, "toarray") else truth)
        if codes.shape[1] > active:
            least = np.partition(codes, -active, axis=1)[:, -active, None]
            codes = np.where((codes >= least) & (codes != 0), codes, 0.0)
        directions = np.asarray(made.directions)
        offset = ground.held.mean(0) - (codes @ directions).mean(0)
        return Coded(lambda _rows: codes, lambda z: z @ directions + offset)

    return Control(f"positive control: the true directions and their {active} largest coefficients",
                   make)  # fmt: skip


__all__ = ["MEASURES", "planted", "true_dictionary"]
