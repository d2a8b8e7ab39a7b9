"""What must pass in the claim on labels: latents that each read one token."""

from types import SimpleNamespace

import numpy as np
import torch

from isthmus.anatomy import Signal
from isthmus.studies.interpret.labels import WIDTH, _near_and_far, _tokens


class Embeddings:
    """A store of the embeddings of tokens drawn with falling frequencies."""

    def __init__(self, words, width):
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(words, width, generator=generator)
        frequency = 1.0 / (1.0 + torch.arange(words))
        self.drawn = torch.multinomial(frequency, 4000, replacement=True, generator=generator)

    def __len__(self):
        return len(self.drawn)

    def source(self, _):
        return SimpleNamespace(signal=Signal("vector", (self.table.shape[1],)))

    def rows(self, _, index):
        return self.table[self.drawn[index]]


def test_each_frequent_token_has_a_latent_of_its_own_and_no_other_fires():
    store = Embeddings(words=60, width=48)
    codes = _tokens(store).encode(store.table)
    seen = np.unique(store.drawn)
    assert codes.shape[1] == len(seen) < WIDTH
    fires = np.asarray(codes) > 0
    assert (fires[seen].sum(1) == 1).all()
    assert sorted(fires[seen].argmax(1)) == list(range(len(seen)))


def test_overlap_of_adjacent_layers_is_told_from_that_of_distant_ones():
    layer = np.repeat([0, 1, 2], 2)
    overlaps = np.eye(6)
    for i, j in ((0, 2), (1, 3), (2, 4), (3, 5)):  # each rule has a half of itself one layer on
        overlaps[i, j] = overlaps[j, i] = 0.5
    assert _near_and_far(overlaps, layer) == {
        "adjacent": 0.5, "distant": 0.0, "adjacent_less_distant": 0.5,
    }  # fmt: skip
