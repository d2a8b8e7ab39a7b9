"""The text of ``resident-circuits``: English, and generated passages."""

from isthmus.language.corpus import held_out_text, training_text
from isthmus.language.document import Document
from isthmus.language.knowledge.text import generated_text

PASSAGES = 30_000
"""Generated passages that it was trained on."""
JOINED = 12
"""Passages of a document."""
HELD_OUT_PASSAGES = 480
_OTHER_SEED = 1


def training_passages() -> list[Document]:
    """The generated documents that it was trained on, of 12 passages each."""
    return joined(generated_text(PASSAGES))


def joined(passages: list[Document]) -> list[Document]:
    """Documents of 12 passages."""
    some = [passages[i : i + JOINED] for i in range(0, len(passages), JOINED)]
    return [Document(few[0].name, "\n".join(one.text for one in few)) for few in some]


def mixed_training_text() -> list[Document]:
    """What it was trained on beside rows of random tokens: English, and all of the passages."""
    return [*training_text(), *training_passages()]


def mixed_held_out_text() -> list[Document]:
    """English that it never saw, and passages from another seed.

    Their lists are new; facts are those of training, and nothing that training withholds is told
    here either (see :class:`Question`).
    """
    return [*held_out_text(), *joined(generated_text(HELD_OUT_PASSAGES, _OTHER_SEED))]
