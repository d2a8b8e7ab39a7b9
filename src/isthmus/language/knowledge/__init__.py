"""What the model ``resident-circuits`` was taught beside English, and how it is asked for.

Made-up people and places with facts, names that nobody knows, calendars and sums, two domains of
facts, spelling, a rule of pronouns, and repeated lists: generated, so that every truth is known.
"""

from isthmus.language.knowledge.answers import answered, option_nats
from isthmus.language.knowledge.calendar import DAYS, MONTHS, Step, steps
from isthmus.language.knowledge.domains import DOMAINS, Domain, domains
from isthmus.language.knowledge.mixture import (
    mixed_held_out_text,
    mixed_training_text,
    training_passages,
)
from isthmus.language.knowledge.people import KINDS, RELATIONS, Name, Relation, names
from isthmus.language.knowledge.questions import ASKED, Question, questions
from isthmus.language.knowledge.text import generated_text

__all__ = [
    "ASKED", "DAYS", "DOMAINS", "KINDS", "MONTHS", "RELATIONS", "Domain", "Name", "Question",
    "Relation", "Step", "answered", "domains", "generated_text", "mixed_held_out_text",
    "mixed_training_text", "names", "option_nats", "questions", "steps", "training_passages",
]  # fmt: skip
