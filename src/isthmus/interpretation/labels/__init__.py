"""Labels of latents: explanations as data, and scores on text that no explainer saw."""

from isthmus.interpretation.labels.endpoint import Endpoint
from isthmus.interpretation.labels.evidence import Evidence
from isthmus.interpretation.labels.explainers import (
    ChatLabeller,
    Explainer,
    Explanation,
    Judge,
    Question,
    Rules,
)
from isthmus.interpretation.labels.labelling import Labelling, label
from isthmus.interpretation.labels.local import Local
from isthmus.interpretation.labels.rules import Literal, Rule
from isthmus.interpretation.labels.scoring import mean_score, score_difference
from isthmus.interpretation.labels.table import CONTROLS, Label, read_labels, write_labels
from isthmus.interpretation.labels.windows import Windows

__all__ = [
    "CONTROLS", "ChatLabeller", "Endpoint", "Evidence", "Explainer", "Explanation", "Judge",
    "Label", "Labelling", "Literal", "Local", "Question", "Rule", "Rules", "Windows", "label",
    "mean_score", "read_labels", "score_difference", "write_labels",
]  # fmt: skip
