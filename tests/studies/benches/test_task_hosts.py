"""A model of a small task does it, and heads do it."""

import numpy as np
import pytest
import torch

from isthmus.data.made.circuit_tasks import circuit_task
from isthmus.interpretation.circuits import ablate_heads, answer_odds
from isthmus.studies import Trial
from isthmus.studies.benches.task_hosts import task_host


@pytest.mark.slow
def test_greater_than_is_learnt_by_few_heads():
    model = task_host("greater-than", Trial(1))
    prompts = circuit_task("greater-than").prompts(100, np.random.default_rng(0))
    metric = answer_odds(prompts.right, prompts.wrong)
    answers = model.logits(prompts.tokens)[:, -1].argmax(1, keepdim=True)
    assert prompts.right.gather(1, answers).float().mean() > 0.95
    ablated = ablate_heads(model, prompts.tokens, prompts.corrupted, metric)
    assert ablated.whole > 2 > 1 > ablated.nothing
    assert 0 < ablated.circuit().sum() < 8


def test_numbers_give_other_models_and_seeds_the_same():
    weights = [
        task_host("copy-name", Trial(1, probing=True), number).module.embed.weight
        for number in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
