"""Which attention heads do a task: exactly, by gradients, and by discrete codes."""

from isthmus.interpretation.circuits.head_ablation import (
    Ablated,
    ablate_heads,
    answer_odds,
    attribute_heads,
)
from isthmus.interpretation.circuits.head_codes import (
    code_scores,
    discrete_codes,
    edge_scores,
    head_dictionary,
)
from isthmus.interpretation.circuits.head_points import Heads, head_outputs, heads_of

__all__ = [
    "Ablated",
    "Heads",
    "ablate_heads",
    "answer_odds",
    "attribute_heads",
    "code_scores",
    "discrete_codes",
    "edge_scores",
    "head_dictionary",
    "head_outputs",
    "heads_of",
]
