"""How near a dictionary's atoms come to the directions that were planted."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.evaluation import mean_max_cosine, recovery
from isthmus.studies.arms import Bench, Ground, Subject
from isthmus.studies.benches.planted import KnownDictionary

FOUND = 0.95
"""A direction is found where an atom's cosine with it is above this."""


def atoms_of(subject: Subject) -> np.ndarray:
    """Atoms ``(latents, elements)`` of a model or of a known dictionary; others have none."""
    if not isinstance(subject, Autoencoder | KnownDictionary):
        raise TypeError(f"{type(subject).__name__} has no atoms: measure something else of it")
    return np.asarray(subject.atoms())


def _directions(ground: Ground) -> np.ndarray:
    known = ground.known
    return np.asarray(known["directions"] if "directions" in known else known["planted"].directions)


MEASURES: Mapping[str, Callable[[Subject, Ground], float]] = {
    "found": lambda subject, ground: float(
        recovery(atoms_of(subject), _directions(ground), FOUND).value
    ),
    "mean_cosine": lambda subject, ground: float(
        mean_max_cosine(atoms_of(subject), _directions(ground)).value
    ),
}
"""Share of the directions that are found, and the mean of their largest cosines with an atom."""


def with_atoms(bench: Bench) -> Bench:
    """A bench of planted data, its measures and these; ``known`` has "directions" or "planted"."""
    setting = f"{bench.setting} A direction is found at a cosine above {FOUND}."
    return replace(bench, setting=setting, measures={**bench.measures, **MEASURES})
