"""Readable text from the tagged tokens of MASC, which keeps no spacing.

Source: Ide, Baker, Fellbaum and Passonneau 2010, "The Manually Annotated Sub-Corpus".
"""

from collections.abc import Iterable

LEFT = frozenset(",.;:?!%)]}”’…°®™")
"""Tokens that follow the one before without a space."""
CLITICS = frozenset(
    mark + end for mark in "'’" for end in ("s", "S", "re", "m", "ve", "ll", "d", "LL", "RE")
) | {"n't", "n’t", "N'T"}
RIGHT = frozenset("([{$#£“‘@")
"""Tokens that the next one follows without a space."""
BOTH = frozenset({"--", "—", "–", "/", "_", "\\"})


def document_text(sentences: Iterable[str]) -> str:
    """Text of one document, given its sentences as ``word_TAG word_TAG ...``.

    Sentences follow one another after a space; a line ends where a sentence has no closing mark
    (headings, addresses, list items).
    """
    parts: list[str] = []
    for tagged in sentences:
        sentence = sentence_text([word.rpartition("_")[0] for word in tagged.split(" ")])
        if sentence:
            parts.append(sentence)
            parts.append(" " if sentence[-1] in ".!?\"'”’)…:;," else "\n")
    return "".join(parts).strip()


def sentence_text(words: Iterable[str]) -> str:
    """Words and marks with the spaces of ordinary print; straight quotes open and close in turn."""
    text = ""
    glued = True  # whether the next word follows without a space
    opened: set[str] = set()
    for raw in words:
        word = raw.replace("\xad", "")  # soft hyphens of the line breaks
        if not word:
            continue
        if word in ('"', "'"):
            closes = word in opened or (word == "'" and text.endswith("s"))
            text += word if closes or glued or not text else " " + word
            glued = not closes
            if word in opened:
                opened.discard(word)
            elif not closes:
                opened.add(word)
            continue
        joins = word in LEFT or word in CLITICS or word in BOTH
        between = word == "-" and text[-1:].isdigit()
        text += word if glued or joins or between else " " + word
        # "Gore-" and "Bush" were one word, "Bush" alone begins a new one
        hyphen = len(word) > 1 and word[-1] in "-–" and word[-2].isalnum()
        glued = word in RIGHT or word in BOTH or between or hyphen
    return text
