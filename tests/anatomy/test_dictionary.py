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
    Each,
    LinearDecoder,
    LinearEncoder,
    Scaler,
    Signal,
    SparseCode,
    View,
    atoms,
    branch,
    code_of,
    decodes_latents,
    dictionaries,
    linear_decoder,
    norms,
    offset,
    read_rows,
    tree,
)
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.recipes import get_recipe

X = np.random.default_rng(0).normal(3, [1, 2, 5, 1, 3, 0.5], size=(40, 6)).astype(np.float32)


class Rows(LinearEncoder, nn.Module):
    """Nothing but what the class asks for."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(6, width)

    def read_rows(self, model):
        return self.linear.weight, self.linear.bias

    def forward(self, x):
        return self.linear(x)


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


def own(scaling, **more):
    torch.manual_seed(0)
    scaler = Scaler((6,), scaling)
    scaler.fit(torch.from_numpy(X))
    parts = {"encoder": Rows(5), "bottleneck": Dense(), "decoder": Atoms(5, 6)}
    return Autoencoder(Signal("vector", (6,)), objective=MSE(), scaler=scaler, **parts | more)


def page(name, rows=X, **options):
    recipe = get_recipe(name)
    torch.manual_seed(0)
    model = recipe.build(Signal.infer(rows), recipe.parse({"latent_dim": 8, **options})[0])
    with torch.no_grad():
        model.prepare(tree.mapped(torch.from_numpy, rows))
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.normal_()
    return model.eval()


MODELS = {
    "own": own("none"),
    "columns": own("columns"),
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
    h = model.encode_view(View(model.scaler(x)))
    wanted = h if isinstance(h, torch.Tensor) else h.dense()
    torch.testing.assert_close(x @ rows.T + bias, wanted.detach(), atol=1e-4, rtol=1e-4)
    assert read_rows(model)[0].requires_grad


PARTS = {"in": X[:, :4], "out": X[:, 4:]}


@pytest.mark.parametrize("scaling", ["global", "columns", "none"])
def test_a_transcoder_has_rows_of_one_part_and_atoms_of_the_other(scaling):
    model = page("transcoder", PARTS, k=3, scaling=scaling)
    rows = tree.mapped(torch.from_numpy, PARTS)
    (read, bias), x = model.read_rows(), rows["in"]
    assert (read.shape, model.atoms().shape) == ((8, 4), (8, 2))
    wanted = model.encode_view(View(model.scaler(rows))).dense().detach()
    torch.testing.assert_close(x @ read.T + bias, wanted, atol=1e-4, rtol=1e-4)
    z = torch.rand(3, 8)
    rebuilt = z @ model.atoms() + offset(model).detach()
    torch.testing.assert_close(model.decode(z), rebuilt, atol=1e-4, rtol=1e-4)


def test_several_dictionaries_are_one_by_name():
    model = page("crosscoder", PARTS, k=3)
    z = torch.cat((torch.zeros(1, 8), torch.eye(8)))
    recon = model.decode(z)
    for name, rows in model.atoms().items():
        torch.testing.assert_close(rows, recon[name][1:] - recon[name][0], atol=1e-4, rtol=1e-4)
    found = dictionaries(model)
    assert list(found) == ["in", "out"]
    assert branch(recon, "out") is recon["out"]
    lengths = [np.linalg.norm(part.atoms().detach(), axis=1) for part in found.values()]
    np.testing.assert_allclose(norms(model).detach(), sum(lengths), rtol=1e-5)
    assert torch.equal(atoms(model, torch.tensor([5, 2]))["in"], atoms(model)["in"][[5, 2]])
    mixed = own("none", decoder=Each({"a": Atoms(5, 6), "b": nn.Linear(5, 6)}))
    assert mixed.atoms() is None
    with pytest.raises(IsthmusError, match="not every part"):
        norms(mixed)


def test_one_dictionary_has_no_name():
    model = MODELS["topk"]
    assert dictionaries(model) == {"": model.decoder}
    assert torch.equal(norms(model), model.decoder.weight.norm(dim=1))
    assert branch(z := torch.ones(2), "") is z


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
        def forward(self, *, code):
            return code.z

    class Named(Atoms):
        def forward(self, *, code):
            return self.linear(code.z)

        def from_latent(self, z):
            return Code(2 * z)

    z = torch.ones(2, 5)
    given = {"plain": nn.Linear(5, 6), "whole": WholeCode(), "named": Named(5, 6), "none": None}
    models = {name: own("none", decoder=decoder) for name, decoder in given.items()} | MODELS
    found = {name for name, model in models.items() if not decodes_latents(model)}
    assert found == {"whole", "none"}
    assert torch.equal(code_of(models["named"], z).z, 2 * z)
    assert type(code_of(models["plain"], z)) is Code


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([[700, 1]], "names latent 700 of 512: latents are counted from 0 to 511"),
        ([[-1, 1]], "names latent -1 of 512"),
        ([[1, 2, 3]], r"and indices of shape \(1, 3\) .* are no sparse code"),
        ([[1.0, 2.0]], "are no sparse code"),
    ],
)
def test_a_code_that_names_no_latents_is_refused(indices, said):
    # Compiled kernels would read the memory beside the atoms.
    model = isthmus.fit("topk", X, latent_dim=512, k=2, steps=1, batch_size=8, progress=False)
    with pytest.raises(IsthmusError, match=said):
        model.decode(SparseCode(torch.ones(1, 2), torch.tensor(indices), 512))
    small = SparseCode(torch.ones(1, 2), torch.tensor([[3, 1]]), 600)
    with pytest.raises(IsthmusError, match="the code has 600 latents and this model 512"):
        model.decode(small)
    code = SparseCode(torch.ones(1, 2), torch.tensor([[3, 1]]), 512)
    whole = model.decode(code)
    assert np.array_equal(model.decode(code.replaced(indices=code.indices.int())), whole)
