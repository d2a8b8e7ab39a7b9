"""A host whose activations are known: a token is a direction, and nothing else happens."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Signal
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import BenchmarkSettings, Ground
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.language import LanguageModel
from isthmus.networks import Dictionary
from isthmus.objectives import MSE

POINT = "layers.0"
WIDTH = 32
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters:
    """A token a small letter; 0 begins a text, 1 is anything else."""

    vocabulary = 28
    bos = 0
    special = frozenset({0})

    def encode(self, text):
        return [2 + LETTERS.index(c) if c in LETTERS else 1 for c in text]

    def decode(self, tokens):
        return "".join(self.pieces(tokens))

    def pieces(self, tokens):
        return [LETTERS[t - 2] if t > 1 else " " for t in tokens]


class OneDirection(nn.Module):
    """Activations ``(rows, places, 32)``: the orthonormal direction of each token."""

    def __init__(self):
        super().__init__()
        draw = np.random.default_rng(0).normal(size=(WIDTH, WIDTH))
        directions = torch.from_numpy(np.linalg.qr(draw)[0]).float()[: Letters.vocabulary]
        self.embed = nn.Embedding.from_pretrained(3.0 * directions)
        self.layers = nn.ModuleList([nn.Identity()])
        self.last = nn.Linear(WIDTH, Letters.vocabulary, bias=False)
        with torch.no_grad():  # it expects the letter that comes next in the alphabet
            self.last.weight.copy_(torch.roll(directions, 1, 0))

    def forward(self, tokens, attention_mask=None):
        return 3.0 * self.last(self.layers[0](self.embed(tokens)))


def host():
    module = OneDirection().eval().requires_grad_(False)
    return LanguageModel("planted", "r1", module, Letters(), 64)


class Relu(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(torch.where(h > 1e-3, h, 0.0))  # above rounding


def dictionary(atoms):
    """``z = relu(x A^T)`` and ``x^ = z A`` for unit rows A, values within rounding being zero."""
    rows = torch.as_tensor(atoms, dtype=torch.float32)
    decoder = Dictionary(len(rows), (rows.shape[1],), unit=False)
    encoder = nn.Linear(rows.shape[1], len(rows), bias=False)
    with torch.no_grad():
        decoder.weight.copy_(rows)
        encoder.weight.copy_(rows)
    signal = Signal("vector", (rows.shape[1],))
    parts = {"encoder": encoder, "bottleneck": Relu(), "decoder": decoder}
    return Autoencoder(signal, **parts, objective=MSE()).eval()


def true_atoms(model):
    return F.normalize(model.module.embed.weight, dim=1)


def random_atoms(number=28, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(number, WIDTH, generator=generator), dim=1)


def true(model):
    return Examined("true", dictionary(true_atoms(model)), POINT)


def random(seed=1):
    return Examined("random", dictionary(random_atoms(seed=seed)), POINT)


def letters_of(classes, seed=0, each=40, length=12):
    """Texts of random letters, a sixth of which are such as its class alone has.

    ``classes`` are the letters by class.
    """
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for name, own in classes.items():
        for _ in range(each):
            letters = [str(rng.choice(list("mnopqrstu"))) for _ in range(length)]
            for place in rng.permutation(length)[: length // 6]:
                letters[place] = str(rng.choice(list(own)))
            texts.append("".join(letters))
            labels.append(name)
    return texts, labels


def two_attributes(seed=0, each=60, length=12, rest="mnopqrstu"):
    """Texts in which "a" or "b" tells the first attribute, and "x" or "y" the second.

    All other letters are of ``rest``.
    """
    rng = np.random.default_rng(seed)
    texts, first, second = [], [], []
    for one in "ab":
        for two in "xy":
            for _ in range(each):
                letters = [str(rng.choice(list(rest))) for _ in range(length)]
                places = rng.permutation(length)
                for place in places[:2]:
                    letters[place] = one
                for place in places[2:6]:
                    letters[place] = two
                texts.append("".join(letters))
                first.append(one)
                second.append(two)
    return TextSet("pairs", tuple(texts), {"first": tuple(first), "second": tuple(second)})


def ground(tmp_path, sets, model=None, **settings):
    text = tmp_path / "running.txt"
    if not text.exists():
        rng = np.random.default_rng(5)
        text.write_text("".join(rng.choice(list(LETTERS), 400)))
    settings = {"tokens": 300, "text": str(text), **settings}
    place = tmp_path / "activations"
    return Ground(model or host(), (POINT,), place, BenchmarkSettings(**settings), sets)
