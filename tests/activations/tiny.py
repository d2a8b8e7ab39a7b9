"""A tiny language model, and tokens for it."""

import torch
from torch import nn

from isthmus.language import LanguageModel, Tokens

BOS = 1


class Letters:
    """One token a character; 0 and 1 stand for no text."""

    vocabulary = 32
    bos = BOS
    special = frozenset({0, BOS})

    def encode(self, text):
        return [2 + ord(character) % 30 for character in text]

    def decode(self, tokens):
        return "".join(chr(96 + t) for t in tokens if t > 1)

    def pieces(self, tokens):
        return [chr(96 + t) for t in tokens]


class Block(nn.Module):
    """A residual block that looks back by a running mean, so that places see those before."""

    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        places = torch.arange(1, x.shape[1] + 1)[:, None]
        return x + self.mlp(x.cumsum(1) / places), "cache"


class Model(nn.Module):
    """Embedding, blocks that return tuples, logits."""

    def __init__(self, width=6, layers=3):
        super().__init__()
        self.embed = nn.Embedding(32, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(layers))
        self.head = nn.Linear(width, 32)
        self.masks = []

    def forward(self, tokens, attention_mask=None):
        self.masks.append(None if attention_mask is None else attention_mask.clone())
        x = self.embed(tokens)
        for layer in self.layers:
            x, _ = layer(x)
        return self.head(x)


def language(seed=0, width=6):
    torch.manual_seed(seed)
    module = Model(width).eval().requires_grad_(False)
    return LanguageModel("tiny", f"seed-{seed}", module, Letters(), 64)


def tokens(rows=20, places=12, seed=0, names=("one", "two")):
    """Rows of random letters behind a BOS, every fourth row cut short by padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 32, (rows, places), generator=generator)
    ids[:, 0] = BOS
    mask = torch.ones(rows, places, dtype=torch.bool)
    for row in range(3, rows, 4):
        mask[row, 3 + row % (places - 3) :] = False
    ids[~mask] = 0
    document = torch.arange(rows) * len(names) // rows
    return Tokens(ids, mask, document, torch.arange(rows) * (places - 1), list(names))


def by_hand(host, text, layer):
    """The outputs of a block, by a loop: ``(rows, places, width)``, one row at a time."""
    out = torch.zeros(*text.ids.shape, host.module.embed.embedding_dim)
    with torch.no_grad():
        for row, ids in enumerate(text.ids):
            x = host.module.embed(ids[None])
            for block in host.module.layers[: layer + 1]:
                x = block(x)[0]
            out[row] = x[0]
    return out


def kept(text, special=(0, BOS)):
    """Where a token stands that counts: bool ``(rows, places)``."""
    where = text.mask.clone()
    for token in special:
        where &= text.ids != token
    return where
