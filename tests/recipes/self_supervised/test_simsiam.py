"""SimSiam: BYOL with a teacher that is the network itself, and what holds it from collapse."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.anatomy import EMA, Autoencoder, Batch, Signal
from isthmus.data import as_source
from isthmus.objectives import CrossPrediction
from isthmus.recipes import get_recipe
from isthmus.recipes.self_supervised.byol import TaughtViews
from isthmus.training import TrainingOptions
from isthmus.training.stepper import Stepper
from recipes.self_supervised import joint

RECIPE = get_recipe("simsiam")
SMALL = {"latent_dim": 12, "projector": 32, "predictor": 8, "hidden": (32,)}
X, Y = joint.vectors()


def build(signal=None, **options):
    chosen, _ = RECIPE.parse({**SMALL, **options})
    torch.manual_seed(0)
    return RECIPE.build(signal or Signal("vector", (60,)), chosen)


def stepped(model):
    """Ten steps of plain gradient descent."""
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
    options = TrainingOptions(optimiser="sgd", lr=0.5, batch_size=100, device="cpu")
    stepper = Stepper(model.train(), options, total=10)
    for step, batch in enumerate(torch.from_numpy(X).split(100)):
        stepper.step(Batch(batch), step)
    stepper.release()
    return model


def test_it_is_a_teacher_that_never_lags():
    model = build(scaling="none")
    model.corruption = joint.Bent()
    taught = Autoencoder(
        model.signal, encoder=copy.deepcopy(model.encoder),
        bottleneck=copy.deepcopy(model.bottleneck), decoder=None,
        objective=0.25 * CrossPrediction(), corruption=TaughtViews(joint.Bent()),
        parts={
            "predictor": copy.deepcopy(model.parts["predictor"]),
            "teacher": EMA(("encoder", "bottleneck"), 0.0),
        },
    )  # fmt: skip
    start = model.encoder.layers[0].weight.detach().clone()
    alone, other = stepped(model), stepped(taught)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert (alone.encoder.layers[0].weight - start).abs().max() > 1e-3


def test_learns_classes_and_does_not_collapse():
    model = isthmus.fit("simsiam", X, **{**SMALL, **joint.ADAM})
    random = isthmus.fit("simsiam", X, **{**SMALL, **joint.ADAM, "lr": 1e-9})
    assert joint.probe(model, X, Y) > joint.probe(random, X, Y) + 0.1
    assert joint.spread(model, X) > 0.7
    assert 0 < model.history[-1]["loss"] < 0.6 < random.history[-1]["loss"]


class Unstopped(CrossPrediction):
    """The same with gradients through both sides."""

    def forward(self, model, out):
        first, second = (code.embedding for code in out.codes)
        cosine, predictor = nn.CosineSimilarity(dim=1), model.parts["predictor"]
        return 4 - 2 * cosine(predictor(first), second) - 2 * cosine(predictor(second), first)


def test_without_the_stop_gradient_it_collapses():
    # Nothing is normalised after the last layer here: a constant has no way through that.
    spreads = []
    for term in (CrossPrediction(), Unstopped()):
        model = build(as_source(X).signal)
        model.bottleneck.projector = model.bottleneck.projector[0]
        model.objective = 0.25 * term
        spreads.append(joint.spread(isthmus.fit(model, X, **joint.ADAM), X))
    assert spreads[0] > 0.5
    assert spreads[1] < 0.1


def test_published_defaults_and_shapes():
    chosen, training = RECIPE.parse({})
    assert (chosen["projector"], chosen["predictor"]) == (2048, 512)
    assert training.peak_lr == pytest.approx(0.1)
    assert training.optimiser_options == {"momentum": 0.9}
    model = build()
    out = model.train()(torch.from_numpy(X[:64]))
    assert [view.by for view in out.views] == [None, None]
    assert out.codes[0].embedding.shape == (64, 32)
    # The output is normalised without scale and shift (appendix D of the paper).
    np.testing.assert_allclose(out.codes[0].embedding.detach().std(0, correction=0), 1, rtol=1e-2)
    assert model.encode(X[:5]).shape == (5, 12)
