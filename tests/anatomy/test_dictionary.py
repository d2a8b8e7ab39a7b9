"""What linear dictionaries say of themselves, against encoding and decoding."""

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.anatomy import (
    Autoencoder,
    Bernoulli,
    Code,
    LinearDecoder,
    LinearEncoder,
    Scaler,
    Signal,
    atoms,
    code_of,
    decodes_latents,
    linear_decoder,
    offset,
    read_rows,
)
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.recipes import get_recipe

X = np.random.default_rng(0).normal(3, [1, 2, 5, 1, 3, 0.5], size=(40, 6)).astype(np.float32)


class Rows(LinearEncoder, nn.Module):
    """Reads the first elements of a row, with nothing but what the class asks for."""

    def __init__(self, width, inputs=None):
        super().__init__()
        self.inputs = inputs
        self.linear = nn.Linear(6 if inputs is None else inputs, width)

    def read_rows(self):
        return self.linear.weight, self.linear.bias

    def forward(self, x):
        return self.linear(x[:, : self.inputs])


class Atoms(LinearDecoder, nn.Module):
    def __init__(self, width, d):
        super().__init__()
        self.linear = nn.Linear(width, d)

    def atoms(self):
        return self.linear.weight.T

    @property
    def offset(self):
        return self.linear.bias

    def forward(self, z):
        return self.linear(z)


class Dense(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h)


def own(scaling, inputs=None, **more):
    torch.manual_seed(0)
    scaler = Scaler((6,), scaling)
    scaler.fit(torch.from_numpy(X))
    parts = {"encoder": Rows(5, inputs), "bottleneck": Dense(), "decoder": Atoms(5, 6)}
    return Autoencoder(Signal("vector", (6,)), objective=MSE(), scaler=scaler, **parts | more)


def page(name, **options):
    recipe = get_recipe(name)
    torch.manual_seed(0)
    model = recipe.build(Signal.infer(X), recipe.parse({"latent_dim": 8, **options})[0])
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
        for part in (model.encoder, model.decoder):
            part.bias.normal_()
    return model.eval()


MODELS = {
    "own": own("none"),
    "columns": own("columns"),
    "first": own("columns", 4),
    "topk": page("topk", k=2),
    "norm": page("topk", k=2, scaling="norm"),
    "per-column": page("relu-l1", scaling="columns"),
    "uncentred": page("llama-scope", k=2),
    "tied": page("k-sparse", k=2, scaling="global"),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_atoms_and_offset_are_what_latents_add_in_the_users_units(model):
    width = len(model.atoms())
    z = torch.cat((torch.zeros(1, width), torch.eye(width)))
    recon = model.decode(z)
    torch.testing.assert_close(model.atoms(), recon[1:] - recon[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(offset(model).detach(), recon[0], atol=1e-4, rtol=1e-4)
    assert not model.atoms().requires_grad
    some = torch.tensor([3, 1])
    assert torch.equal(atoms(model, some).detach(), model.atoms()[some])
    assert atoms(model).requires_grad


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_read_rows_give_the_pre_activations_in_the_users_units(model):
    rows, bias = model.read_rows()
    x = torch.from_numpy(X)
    h = model.encoder(model.scaler(x))
    wanted = h if isinstance(h, torch.Tensor) else h.dense()
    torch.testing.assert_close(
        x[:, : rows.shape[1]] @ rows.T + bias, wanted.detach(), atol=1e-4, rtol=1e-4
    )
    assert read_rows(model)[0].requires_grad


def test_a_transcoder_reads_one_part_of_a_row_and_writes_the_other():
    model = page("transcoder", inputs=4, k=3)
    assert model.encoder.inputs == 4
    assert float(model.encoder.factor) != 1.0
    (rows, bias), x = model.read_rows(), torch.from_numpy(X)
    assert (rows.shape, model.atoms().shape) == ((8, 4), (8, 2))
    wanted = model.encoder(model.scaler(x)).dense().detach()
    torch.testing.assert_close(x[:, :4] @ rows.T + bias, wanted, atol=1e-4, rtol=1e-4)
    z = torch.rand(3, 8)
    rebuilt = z @ model.atoms() + offset(model).detach()
    torch.testing.assert_close(model.decode(z), rebuilt, atol=1e-4, rtol=1e-4)


def test_a_decoder_is_whole_with_atoms_and_offset_alone():
    decoder, z = Atoms(5, 6), torch.rand(3, 5)
    torch.testing.assert_close(decoder.decode(decoder.from_latent(z)), decoder(z))
    assert decoder.error(Code(z), torch.zeros(3, 6)) is None


def test_what_is_not_linear_has_no_rows():
    plain = isthmus.fit("plain", X, latent_dim=3, steps=2, progress=False)
    assert plain.atoms() is plain.read_rows() is offset(plain) is None
    # Logits add up, but the reconstruction is not linear in them.
    assert own("none", likelihood=Bernoulli()).atoms() is None
    with pytest.raises(IsthmusError, match="no dictionary"):
        linear_decoder(plain)
    assert linear_decoder(MODELS["topk"]) is MODELS["topk"].decoder


def test_who_rebuilds_from_the_latents_alone():
    class WholeCode(nn.Module):
        reads = "code"

        def forward(self, code):
            return code.z

    class Named(WholeCode):
        def from_latent(self, z):
            return Code(2 * z)

    z = torch.ones(2, 5)
    given = {"plain": nn.Linear(5, 6), "whole": WholeCode(), "named": Named(), "none": None}
    models = {name: own("none", decoder=decoder) for name, decoder in given.items()} | MODELS
    found = {name for name, model in models.items() if not decodes_latents(model)}
    assert found == {"whole", "none"}
    assert torch.equal(code_of(models["named"], z).z, 2 * z)
    assert type(code_of(models["plain"], z)) is Code
