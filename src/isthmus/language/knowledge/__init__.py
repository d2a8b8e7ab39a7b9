"""What the second resident model was taught beside English, and how it is asked for.

Made-up people and places with facts, names that nobody knows, calendars and sums, two domains of
facts, spelling, a rule of pronouns, and repeated lists: generated, so that every truth is known.
"""

from isthmus.language.knowledge.calendar import DAYS, MONTHS, Step, steps
from isthmus.language.knowledge.domains import DOMAINS, Domain, domains
from isthmus.language.knowledge.people import KINDS, Name, Relation, names
from isthmus.language.knowledge.questions import Question, questions
from isthmus.language.knowledge.text import generated_text

__all__ = [
    "DAYS", "DOMAINS", "KINDS", "MONTHS", "Domain", "Name", "Question", "Relation", "Step",
    "domains", "generated_text", "names", "questions", "steps",
]  # fmt: skip
