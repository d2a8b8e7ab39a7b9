from isthmus.data.made.topic_tree import (
    FIELDS,
    SUBTOPICS,
    rewritten,
    topic_corpus,
)


def test_words_are_those_of_the_field_and_subtopic():
    corpus = topic_corpus(60, 3)
    assert set(corpus.field) <= set(range(FIELDS))
    for text, field, subtopic in zip(corpus.texts, corpus.field, corpus.subtopic, strict=True):
        heads = {word.rpartition("w")[0] for word in text.split() if not word.startswith("common")}
        assert heads <= {f"field{field}", f"topic{subtopic}"}
        assert subtopic == -1 or subtopic // SUBTOPICS == field
        assert ("topic" in text) == (subtopic >= 0)
    assert (corpus.subtopic < 0).any()
    again = topic_corpus(60, 3)
    assert again.texts == corpus.texts


def test_a_rewritten_query_has_the_other_subtopics_words():
    assert rewritten("common3 topic7w12 field1w0 topic7w0", 9) == (
        "common3 topic9w12 field1w0 topic9w0"
    )
