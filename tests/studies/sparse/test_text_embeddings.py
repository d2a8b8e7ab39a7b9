import numpy as np
import pytest
import torch

from isthmus.data.made.topic_tree import FIELDS, SUBTOPICS, topic_corpus
from isthmus.networks import Dictionary
from isthmus.studies.sparse.text_embeddings import (
    GENTLER,
    Labelled,
    _retrieval,
    _splits,
    _tree,
)


def labelled():
    corpus = topic_corpus(1500, 0)
    subtopics = corpus.subtopic[:, None] == np.arange(FIELDS * SUBTOPICS)
    fields = corpus.field[:, None] == np.arange(FIELDS)
    return Labelled(np.zeros((1500, 2)), subtopics, fields)


def test_latents_that_are_the_topics_give_the_true_tree():
    rows = labelled()
    fired = np.concatenate([rows.subtopics, rows.fields], axis=1)
    assert _tree(fired, rows) == {
        "parent_match": 1.0,
        "has_a_parent": 1.0,
        "families": FIELDS,
        "largest": SUBTOPICS,
    }


def test_firing_in_other_rows_gives_no_tree():
    rows = labelled()
    fired = np.concatenate([rows.subtopics, rows.fields], axis=1)
    drawn = np.random.default_rng(0).permuted(fired, axis=0)
    assert _tree(drawn, rows, fired)["parent_match"] < 0.4


def test_latents_without_a_parent_are_misses():
    rows = labelled()
    found = _tree(rows.subtopics, rows)
    assert found["parent_match"] == found["has_a_parent"] == 0.0


class Fixed:
    """A dictionary of given directions, each of which fires where its product is positive."""

    def __init__(self, atoms):
        self.decoder = Dictionary(*atoms.shape[:1], atoms.shape[1:])
        self.decoder.weight.data = torch.from_numpy(atoms)

    def encode(self, x):
        return np.maximum(x @ self.decoder.weight.detach().numpy().T, 0.0)


def test_narrow_latents_come_from_the_wide_one_over_them():
    subtopic = np.repeat(np.arange(FIELDS * SUBTOPICS), 4)
    x = np.eye(FIELDS * SUBTOPICS)[subtopic]
    subtopics = x.astype(bool)
    fields = subtopic[:, None] // SUBTOPICS == np.arange(FIELDS)
    over = np.zeros((200, FIELDS * SUBTOPICS))
    over[:FIELDS] = fields.T.astype(float) @ x  # the others are dead
    models = {4: Fixed(over), 8: None, 16: Fixed(np.eye(FIELDS * SUBTOPICS))}
    found = _splits(models, Labelled(x, subtopics, fields), 0)
    assert found["cosine"] == pytest.approx(1 / np.sqrt(SUBTOPICS))
    assert found["split"] == FIELDS
    assert found["same_field"] == 1.0
    assert found["same_field_of_any"] < 0.4


def test_steering_exchanges_the_latents_of_two_subtopics():
    """Codes that are the subtopics themselves: the edit lands on the other subtopic, exactly."""
    rows = labelled()
    x = np.concatenate([2.0 * rows.subtopics, rows.fields], axis=1)
    atoms = np.eye(x.shape[1])
    model = Fixed(atoms)
    model.decode = lambda z: z @ atoms
    known = Labelled(x, rows.subtopics, rows.fields)
    texts = topic_corpus(1500, 0).texts
    found = _retrieval(model, known, known, texts, lambda texts: x[: len(texts)], 0)
    assert found["unsteered"] == {"target": 0.0, "own": 1.0, "field": 1.0}
    for times in ("", *(f"_x{times}" for times in GENTLER)):
        assert found["steered"][f"target{times}"] == found["steered"][f"field{times}"] == 1.0
        assert found["steered"][f"own{times}"] == 0.0
    assert found["random latents"]["target"] < 0.3
