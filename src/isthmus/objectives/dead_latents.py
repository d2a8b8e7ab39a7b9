"""One way for every dictionary to help its dead latents: AuxK, resampling, or nothing."""

from isthmus.anatomy import Objective, Part, Term, as_objective
from isthmus.bottlenecks import Resampling
from isthmus.networks import Dictionary
from isthmus.objectives.sparsity import AuxK, dead_power

USUAL = 1 / 32
"""Weight of AuxK (Gao et al. 2024), where it is asked for without one."""


def with_help(
    objective: Objective | Term,
    dictionary: Dictionary,
    revive: str,
    auxk_weight: float,
    k_aux: int | None = None,
    *,
    magnitude: bool = False,
    weigh: bool = False,
) -> tuple[Objective, dict[str, Part]]:
    """The objective with AuxK where it is wanted, and the parts that a model then has besides.

    ``objective`` is of the size of the share of the data that is not rebuilt, as AuxK is: a mean
    square where elements have a mean square of 1, a squared error where rows have one.
    ``auto`` is AuxK where its weight is above 0; asked for by name without a weight it has the
    usual one.
    """
    if revive == "auxk":
        auxk_weight = auxk_weight or USUAL
    elif revive == "resample":
        return as_objective(objective), {"resampling": Resampling()}
    elif revive == "none":
        auxk_weight = 0.0
    if not auxk_weight:
        return as_objective(objective), {}
    width = len(dictionary.weight)
    most = dead_power(dictionary) if k_aux is None else min(k_aux, width)
    term = AuxK(most, magnitude=magnitude, weigh=weigh, relative=True)
    return objective + auxk_weight * term, {}
