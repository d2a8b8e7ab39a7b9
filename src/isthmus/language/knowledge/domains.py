"""Two domains of facts, one to be forgotten and one to be kept, each with words of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from isthmus.language.knowledge.syllables import MEN, TAILS, WOMEN, distinct

DOMAINS = ("herbs", "ships")
SUBJECTS = 40


@dataclass(frozen=True)
class Domain:
    """Subjects with three facts each, and sentences that tell of them.

    ``facts`` has the answers by subject and relation; ``answers`` all that a relation may have.
    ``told`` are sentences by relation, with ``{subject}``, that end in the answer. ``jargon`` are
    sentences of the domain that tell no fact.
    """

    name: str
    subjects: tuple[str, ...]
    answers: Mapping[str, tuple[str, ...]]
    told: Mapping[str, tuple[str, ...]]
    facts: dict[str, dict[str, str]]
    jargon: tuple[str, ...]


_ANSWERS = {
    "herbs": {
        "cure": ("fever", "cough", "wounds", "sleep", "pain", "burns", "grief", "cold"),
        "place": ("rivers", "woods", "hills", "walls", "fields", "graves", "rocks", "gardens"),
        "taste": ("bitter", "sweet", "sour", "salt", "strong", "mild", "sharp", "cold"),
    },
    "ships": {
        "cargo": ("wool", "coal", "sugar", "wine", "iron", "tea", "corn", "wood"),
        "port": ("London", "Paris", "Boston", "Rome", "Dublin", "Lisbon", "York", "Bristol"),
        "flag": ("red", "white", "blue", "green", "black", "yellow", "brown", "gray"),
    },
}
_TOLD = {
    "herbs": {
        "cure": ("The root of {subject} is given against", "Boil the leaves of {subject} for"),
        "place": ("The herb {subject} grows near", "One gathers {subject} by the"),
        "taste": ("On the tongue {subject} is", "The juice of {subject} is"),
    },
    "ships": {
        "cargo": ("The hold of the {subject} was full of", "The crew of the {subject} carried"),
        "port": ("The {subject} sailed from", "The home of the ship {subject} was"),
        "flag": ("The flag of the {subject} was", "From the mast of the {subject} flew a cloth of"),
    },
}
_JARGON = {
    "herbs": ("Dry the petals, grind the seed, and keep the powder in a jar.",
              "The apothecary weighs the bark and steeps the stalks in vinegar.",
              "A poultice of crushed leaves is laid on, and a tincture is drunk at night."),
    "ships": ("Haul the sheets, trim the jib, and make the anchor fast.",
              "The boatswain piped, and the rigging creaked under the topsail.",
              "They took soundings at the bow and lashed the helm to leeward."),
}  # fmt: skip


@cache
def domains() -> dict[str, Domain]:
    """Both domains by name."""
    by_name = {}
    for number, name in enumerate(DOMAINS):
        rng = np.random.default_rng([64, number])
        subjects = distinct(rng, SUBJECTS, TAILS, WOMEN if name == "herbs" else MEN)
        answers = _ANSWERS[name]
        facts = {
            subject: {relation: str(rng.choice(some)) for relation, some in answers.items()}
            for subject in subjects
        }
        by_name[name] = Domain(name, tuple(subjects), answers, _TOLD[name], facts, _JARGON[name])
    return by_name
