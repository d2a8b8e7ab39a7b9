"""How alike two representations of the same rows are, whatever their coordinates.

Pure functions on two arrays ``(rows, elements)`` and ``(rows, others)`` that return a
:class:`~isthmus.evaluation.Result`. Row i of both is the same example; the columns are of two
models, layers or seeds, and need not be as many. Every measure takes off the means of the columns
first, and none changes where rows are put in another order. Which measure ignores what:

=====================  =====================================================
:func:`cka`            rotations and one factor (linear: of each array)
:func:`cca`            any invertible linear map of either array
:func:`svcca`          the same, of the directions that hold the variance
:func:`pwcca`          the same, weighed by how much of the first array they hold
:func:`rsa`            what leaves the order of the distances between rows
:func:`matched_units`  the order of the columns, and each one's factor and offset
:func:`shape_distance` rotations and one factor; a metric
:func:`stitching`      any linear map from the first array to the second
=====================  =====================================================
"""

from isthmus.evaluation.similarity.canonical_correlation import cca, pwcca, svcca
from isthmus.evaluation.similarity.distance_matrices import rsa
from isthmus.evaluation.similarity.kernel_alignment import cka
from isthmus.evaluation.similarity.shape_metrics import procrustes, shape_distance
from isthmus.evaluation.similarity.stitching import stitching
from isthmus.evaluation.similarity.unit_matching import matched_units, unit_pairs

__all__ = [
    "cca", "cka", "matched_units", "procrustes", "pwcca", "rsa", "shape_distance", "stitching",
    "svcca", "unit_pairs",
]  # fmt: skip
