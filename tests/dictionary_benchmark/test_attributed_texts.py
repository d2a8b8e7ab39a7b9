"""Made texts: every combination of attributes as often, and nothing else told by them."""

from collections import Counter

from isthmus.dictionary_benchmark.attributed_texts import ATTRIBUTES, attributed_texts


def test_all_combinations_are_equally_frequent():
    made = attributed_texts(64)
    cells = Counter(zip(*made.labels.values(), strict=True))
    assert len(cells) == 16
    assert set(cells.values()) == {4}
    for name, classes in ATTRIBUTES.items():
        assert set(made.labels[name]) == set(classes)


def test_a_text_says_what_its_labels_do():
    made = attributed_texts(160)
    said = {"woman": " she ", "man": " he ", "sum": " make ", "spelling": " is spelled "}
    for row, text in enumerate(made.texts):
        for name in ("person", "exercise"):
            own = made.labels[name][row]
            (other,) = set(ATTRIBUTES[name]) - {own}
            assert said[own] in text
            assert said[other] not in text
        unit = made.labels["calendar"][row]
        assert f" {unit}s after " in text


def test_texts_depend_on_the_seed_alone():
    assert attributed_texts(32, 1) == attributed_texts(32, 1)
    assert attributed_texts(32, 1).texts != attributed_texts(32, 2).texts
