"""A dictionary that was read goes through everything that one fitted here does."""

import pytest
import torch

import isthmus
from interpretation.made import VOCABULARY, Letters, ordinary, residual, tokens
from isthmus.data import as_source
from isthmus.interpretation import Settings, Splice, Steering, behaviour, source_features
from isthmus.interpretation.attribution import Trace
from isthmus.language import Decoder, LanguageModel, Shape
from isthmus.training import Callback
from peers import read, recorded

D = 8
POINT = "layers.0"
DICTIONARIES = [
    "saelens/standard", "saelens/topk", "saelens/gated", "saelens/jumprelu",
    "dictionary_learning/batchtopk", "saelens/layer-norm-topk", "saelens/constant-norm",
]  # fmt: skip
TRANSCODERS = ["circuit-tracer/relu", "circuit-tracer/jumprelu", "circuit-tracer/jumprelu-skip"]


def host():
    torch.manual_seed(0)
    module = Decoder(Shape(VOCABULARY, D, 2, 2, 32, 32))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    weight = module.embed.weight.detach() * module.norm.weight.detach()
    module = module.eval().requires_grad_(False)
    return LanguageModel("made", "seed-0", module, Letters(), 32, True, weight)


HOST, TEXT = host(), tokens()
X = residual(HOST, TEXT)[ordinary(TEXT)]


def rows_of(case, n=256):
    """Rows of the size that the case was recorded with."""
    x = recorded(case)["x"]
    draw = torch.Generator().manual_seed(3)
    return x.mean(0) + x.std(0) * torch.randn(n, x.shape[1], generator=draw)


@pytest.mark.parametrize("case", DICTIONARIES)
def test_it_is_measured(case):
    model, x = read(case), rows_of(case)
    found = isthmus.evaluate(model, x)
    error = (x - model.reconstruct(x)).square().sum() / (x - x.mean(0)).square().sum()
    assert found["fvu"].value == pytest.approx(float(error), rel=1e-4)
    on = (model.encode(x) != 0).sum(1).float().mean()
    assert found["l0"].value == pytest.approx(float(on), rel=1e-4)


@pytest.mark.parametrize("case", DICTIONARIES)
def test_its_features_are_found(case, tmp_path):
    model, x = read(case), rows_of(case)
    found = source_features(as_source(x), model, tmp_path / "features", progress=False,
                            settings=Settings())  # fmt: skip
    rate = (model.encode(x) != 0).float().mean(0)
    assert len(found) == model.d_sae
    torch.testing.assert_close(torch.tensor(found.column("rate")), rate, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", DICTIONARIES)
def test_it_steers(case):
    model = read(case)
    z = model.encode(X)
    latent = int((z != 0).sum(0).argmax())
    size = torch.ones(len(X), 1)
    if model.cfg.normalize_activations == "layer_norm":
        size = X.std(1, keepdim=True)
    elif model.cfg.normalize_activations == "constant_norm_rescale":
        size = X.norm(dim=1, keepdim=True) / D**0.5
    expected = X + 2.0 * size * model.W_dec[latent]
    torch.testing.assert_close(
        Steering(model, add={latent: 2.0})(X), expected, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("case", DICTIONARIES)
def test_what_stands_in_is_its_reconstruction(case):
    model = read(case)
    torch.testing.assert_close(Splice(model)(X), model.reconstruct(X), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", DICTIONARIES)
def test_what_is_lost_when_it_stands_in_is_measured(case):
    found = behaviour(HOST, POINT, read(case), TEXT, draws=20)
    assert found["ce_spliced"].value != pytest.approx(found["ce"].value, abs=1e-3)


@pytest.mark.parametrize("case", TRANSCODERS)
def test_a_transcoder_is_traced(case):
    model = read(case)
    trace = Trace(HOST, TEXT.ids[0], {1: model})
    u = trace.pre_activations(1, 5)
    assert u.shape == (model.d_sae,)
    found = behaviour(HOST, "layers.1.mlp", model, TEXT, reads="layers.1.mlp:in", draws=20)
    assert found["ce_spliced"].value != pytest.approx(found["ce"].value, abs=1e-3)


class Stop(Callback):
    """An interruption after some steps."""

    def __init__(self, after):
        self.after = after

    def on_step(self, run, step):
        if step == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("case", DICTIONARIES)
def test_it_is_trained_on_saved_shown_and_resumed(case, tmp_path):
    model, x = read(case), rows_of(case)
    how = {"start": model, "steps": 8, "batch_size": 64, "seed": 0, "progress": False}
    recipe, run = model.config["recipe"], tmp_path / "run"
    tuned = isthmus.fit(recipe, x, out=run, **how)
    assert not torch.equal(tuned.W_enc, model.W_enc)
    assert tuned.cfg.metadata == model.cfg.metadata
    again = isthmus.load(run)
    assert torch.equal(again.encode(x), tuned.encode(x))
    assert again.cfg.metadata == model.cfg.metadata
    assert recipe in isthmus.report(run).read_text()
    with pytest.raises(KeyboardInterrupt):
        isthmus.fit(recipe, x, out=tmp_path / "cut", save_every=2, callbacks=[Stop(5)], **how)
    resumed = isthmus.resume(tmp_path / "cut", x, progress=False)
    assert torch.equal(resumed.W_enc, tuned.W_enc)
    assert resumed.cfg.metadata == model.cfg.metadata


def test_other_options_keep_what_is_said_of_the_file():
    model, x = read("saelens/topk"), rows_of("saelens/topk")
    tuned = isthmus.fit("topk", x, start=model, k=3, steps=2, progress=False)
    assert (tuned.cfg.k, tuned.cfg.metadata["k"]) == (3, 5)
    more = isthmus.fit(tuned, x, steps=2, progress=False)
    assert more.cfg.metadata == model.cfg.metadata
