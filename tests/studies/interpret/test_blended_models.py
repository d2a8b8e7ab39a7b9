"""Mixed weights, the best of them, and what is learnt from."""

import math

import numpy as np
import torch

from isthmus.language import Decoder, Shape
from isthmus.studies import Trial
from isthmus.studies.benches.character_models import Text, perplexity
from isthmus.studies.interpret import blended_models
from isthmus.studies.interpret.blended_models import BATCH, best_vector, lessons, mixed_weights

TEXT = Text(torch.arange(3000) % 7, torch.arange(300) % 7, 7)
TEXTS = (TEXT, TEXT.backwards)
PROBE = Trial(0, probing=True)


def model(seed):
    torch.manual_seed(seed)
    return Decoder(Shape(7, 16, 2, 1, 64, 32)).requires_grad_(False)


def test_weights_are_mixed_one_by_one():
    base, tuned = model(0), model(1)
    mixed = mixed_weights(base, tuned, 0.25)
    for a, b, c in zip(base.parameters(), tuned.parameters(), mixed.parameters(), strict=True):
        torch.testing.assert_close(c, 0.75 * a + 0.25 * b)
    assert not torch.equal(base.embed.weight, mixed.embed.weight)


def test_the_best_share_has_the_lowest_geometric_mean():
    base, tuned = model(0), model(1)
    rng = np.random.default_rng([0, 4])
    rows = [text.rows(blended_models.SEEN, rng) for text in TEXTS]
    means = {
        share: math.prod(perplexity(mixed_weights(base, tuned, share), part) for part in rows)
        for share in blended_models.COEFFICIENTS
    }
    best = mixed_weights(base, tuned, min(means, key=means.get))
    assert torch.equal(best_vector(base, tuned, TEXTS, PROBE).embed.weight, best.embed.weight)
    assert len(set(means.values())) > 1


def test_lessons_have_as_many_rows_of_either_text():
    for tokens, second in lessons(TEXTS, PROBE):
        assert len(tokens) == len(second) == BATCH
        steps = tokens.diff(dim=1) % 7
        assert torch.equal((steps == 6).all(1), second)
        assert torch.equal((steps == 1).all(1), ~second)
