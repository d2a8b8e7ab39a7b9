"""Samples by themselves and in blocks hold the same tokens; templates are where they are said."""

import numpy as np

from isthmus.language import resident
from isthmus.studies.benches.dialogues import ROLES, TURNS, Sample, alone, blocks, dialogues

MODEL = resident()
RNG = np.random.default_rng(0)
SAMPLES = [
    Sample(RNG.integers(300, 4000, size=length), np.arange(length) < 5)
    for length in (40, 90, 150, 200)
]


def test_both_ways_hold_the_same_tokens_in_the_same_order():
    joined = np.concatenate([sample.ids for sample in SAMPLES])
    for text in (alone(SAMPLES, MODEL), blocks(SAMPLES, MODEL)):
        assert (text.ids[:, 0] == MODEL.tokenizer.bos).all()
        assert text.ids.shape[1] <= MODEL.context
        tokens = text.ids[:, 1:][text.mask[:, 1:]]
        np.testing.assert_array_equal(tokens.numpy(), joined)
    assert len(alone(SAMPLES, MODEL)) == len(SAMPLES)
    assert len(blocks(SAMPLES, MODEL)) == 2  # 480 tokens in rows of 256, BOS included


def test_a_dialogue_is_turns_of_sentences_behind_roles():
    decode = MODEL.tokenizer.decode
    drawn, others = (list(dialogues(MODEL, seed, 3)) for seed in (0, 1))
    assert len(drawn) == 3
    for sample in drawn:
        assert decode(sample.ids[sample.template].tolist()) == "".join(ROLES) * (TURNS // 2)
        text = decode(sample.ids.tolist())
        assert text.startswith(ROLES[0])
        assert text.count(ROLES[0]) == text.count(ROLES[1]) == TURNS // 2
    assert not np.array_equal(drawn[0].ids, others[0].ids)
