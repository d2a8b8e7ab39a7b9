"""Which rules of latents the layouts that are written have a word for."""

from dataclasses import dataclass, field

from isthmus.anatomy.rule import Activation
from isthmus.errors import IsthmusError
from isthmus.formats.record import Record


@dataclass(frozen=True)
class Words:
    """What a library can say: the rules of its dictionaries and of its transcoders.

    ``row_norm`` is whether rows may be normalised each by itself.
    """

    title: str
    dictionaries: frozenset[Activation]
    transcoders: frozenset[Activation] = field(default=frozenset())
    row_norm: bool = False

    def say(self, record: Record) -> bool:
        """Whether there is a word for such a dictionary or transcoder."""
        rules = self.transcoders if record.transcoder else self.dictionaries
        return record.activation in rules and (self.row_norm or record.row_norm == "none")


WORDS = {
    "saelens": Words(
        "SAELens",
        frozenset({"relu", "topk", "abstopk", "batchtopk", "jumprelu", "gated",
                   "matching_pursuit"}),
        frozenset({"relu", "batchtopk", "jumprelu"}),
        row_norm=True,
    ),
    "sparsify": Words(
        "sparsify", frozenset({"topk", "groupmax"}), frozenset({"topk", "groupmax"})
    ),
    "dictionary_learning": Words(
        "dictionary_learning", frozenset({"relu", "topk", "batchtopk", "jumprelu", "gated"})
    ),
}  # fmt: skip
"""By the names of the layouts (:data:`isthmus.formats.WRITERS`)."""


def check_sayable(record: Record, layout: str) -> None:
    """An error where a layout has no word for what a model computes, with those that have one."""
    if WORDS[layout].say(record):
        return
    kind = "transcoder" if record.transcoder else "dictionary"
    rows = "" if record.row_norm == "none" else f" of rows normalised by {record.row_norm}"
    others = " or ".join(words.title for words in WORDS.values() if words.say(record))
    remedy = f"write it for {others}, or " if others else ""
    raise IsthmusError(
        f"{WORDS[layout].title} has no {kind} of the rule {record.activation}{rows}: {remedy}keep "
        "it as a run (isthmus.save)"
    )
