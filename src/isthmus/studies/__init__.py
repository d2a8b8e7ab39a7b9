"""Published claims as experiments that can fail: one page each."""

from isthmus.studies import control
from isthmus.studies.anchors import Anchor, Anchors
from isthmus.studies.arms import Bench, Coded, Control, Fit, Ground, Subject
from isthmus.studies.checks import Premise, Primary, Published, Secondary, Tuning
from isthmus.studies.contract import Claim, claim, claims, experiment, get_claim
from isthmus.studies.quantities import Figures, Quantity, apart, less, quantity, ratio, value
from isthmus.studies.trial import PILOT, Trial

__all__ = [
    "PILOT", "Anchor", "Anchors", "Bench", "Claim", "Coded", "Control", "Figures", "Fit",
    "Ground", "Premise", "Primary", "Published", "Quantity", "Secondary", "Subject", "Trial",
    "Tuning", "apart", "claim", "claims", "control", "experiment", "get_claim", "less", "quantity",
    "ratio", "value",
]  # fmt: skip
