"""The claim on transcoders: what is lost under edits, and the ranks of edges."""

import numpy as np
import pytest
import torch

from isthmus.interpretation import spliced
from isthmus.language import pack
from isthmus.language.document import Document
from isthmus.studies.circuits import transcoder as page


def test_correlations_are_of_ranks_with_signs_and_of_sizes():
    weight = np.array([3.0, 2.0, 1.0, -1.0, -2.0, -3.0])
    found = page._correlations(weight, weight**3)
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["rank_correlation_of_sizes"] == pytest.approx(1.0)
    assert found["same_sign"] == 1.0
    signs_only = page._correlations(weight, np.array([1.0, 2.0, 3.0, -3.0, -2.0, -1.0]))
    assert signs_only["rank_correlation"] > 0.5
    assert signs_only["rank_correlation_of_sizes"] == pytest.approx(-1.0)


def test_loss_is_that_of_the_model_and_edits_leave_special_tokens():
    model = page.host()
    text = pack([Document("a", "The whale is a fish. " * 8)], model.tokenizer, model.context, None)
    ids = text.ids[:, : int(text.mask.sum())]

    def direct(begun):
        hold = {page.OUT: torch.zeros_like}
        with spliced(model.module, hold, mask=begun):
            logits = model.logits(ids)[0, :-1]
        return float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))

    nowhere, behind = torch.zeros_like(ids, dtype=torch.bool), ids != model.tokenizer.bos
    assert page.cross_entropy(text, {}) == pytest.approx(direct(nowhere), abs=1e-5)
    found = page.cross_entropy(text, {page.OUT: torch.zeros_like})
    assert found == pytest.approx(direct(behind), abs=1e-5)
    assert found != pytest.approx(direct(nowhere), abs=1e-3)
