"""A wider and deeper model that begins with what a smaller one does, and with heads that copy.

After Chen, Goodfellow and Shlens 2016 (arXiv:1511.05641, "Net2Net"), for blocks that are normalised
and added to a residual stream.
"""

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.language.decoder import Decoder, DecoderBlock, RMSNorm, Shape

CODE, CONSTANT = 0.3, 0.4
"""Size of what tells tokens apart in new columns of the embedding, and of what is the same for all.
"""
PAIRS = 3
"""Pairs of the highest frequencies that tell a place from its neighbours."""
PEAK, MATCH, WRITTEN, READ = 8.0, 2.0, 5.0, 0.7
"""Logits by which the place before stands out; size of queries and keys that match; size of the
copy that is written, and gain of the columns it is in before the unembedding."""


@torch.no_grad()
def grown(small: Decoder, shape: Shape, places: tuple[int, ...]) -> Decoder:
    """A model of ``shape`` that says nearly what ``small`` does.

    Its blocks stand at ``places``. What is new, columns of the residual stream, heads, hidden units
    and whole blocks, begins as small as in any new model, and what is old does not read it. Heads
    must be as wide as those of ``small``, since positions turn them.
    """
    old = small.shape
    if old.width // old.heads != shape.width // shape.heads:
        raise IsthmusError(
            f"heads of {shape.width // shape.heads} cannot begin as heads of "
            f"{old.width // old.heads}: choose heads so that their width stays"
        )
    model = Decoder(shape)
    model.embed.weight[:, : old.width] = small.embed.weight
    _norm(model.norm, small.norm)
    for place, block in zip(places, small.layers, strict=True):
        _block(model.layers[place], block)
    return model


def _block(new: torch.nn.Module, old: torch.nn.Module) -> None:
    assert isinstance(new, DecoderBlock)
    assert isinstance(old, DecoderBlock)
    width = old.attention.out.weight.shape[0]
    _norm(new.attention_norm, old.attention_norm)
    _norm(new.mlp_norm, old.mlp_norm)
    # query, key and value lie under one another, and in each of them the heads
    for mine, its in zip(
        new.attention.qkv.weight.chunk(3), old.attention.qkv.weight.chunk(3), strict=True
    ):
        mine[:width] = 0
        mine[:width, :width] = its
    new.attention.out.weight[:width, :width] = old.attention.out.weight
    hidden = old.mlp.up.weight.shape[0]
    new.mlp.up.weight[:hidden] = 0
    new.mlp.up.weight[:hidden, :width] = old.mlp.up.weight
    new.mlp.down.weight[:width, :hidden] = old.mlp.down.weight


def _norm(new: RMSNorm, old: RMSNorm) -> None:
    """The root mean square is over more columns, the new ones nearly 0."""
    gains = old.weight * (len(old.weight) / len(new.weight)) ** 0.5
    new.weight[:] = gains.mean()
    new.weight[: len(gains)] = gains


@torch.no_grad()
def given_copying(model: Decoder, old: int, residual: float = 7.0) -> None:
    """Let half of the heads of blocks 0 and 2 begin as an induction circuit (Olsson et al. 2022).

    They saw heads that copy form after 2.5 to 5 thousand million tokens; here some are there at the
    first step, and training keeps what it can use. ``model`` is
    :func:`grown` from one of width ``old``, whose first block is block 1; block 2 sees no
    positions. In the columns behind ``old`` the embedding has a code of each token: heads of block
    0 look one place back and write what stands there, turned; those of block 2 look for a place
    whose token before is the present one, and write its token to where the unembedding reads it.
    ``residual`` is the root mean square of what block 2 reads.
    """
    shape = model.shape
    draw = torch.Generator().manual_seed(0)
    code, number = slice(old + 1, shape.width), shape.width - old - 1
    model.embed.weight[:, old] = CONSTANT
    model.embed.weight[:, code] = CODE * torch.randn(shape.vocabulary, number, generator=draw)
    many = shape.heads // 2 * (shape.width // shape.heads) // number
    turn, *bases = (
        torch.linalg.qr(torch.randn(number, number, generator=draw))[0] for _ in range(many + 1)
    )
    values = torch.cat(bases)
    _looking_back(model, code, values, turn)
    # the root mean square of what the first old block reads has the code and its turned copy
    text = old * model.embed.weight[:, :old].square().mean()
    more = (text + CONSTANT**2 + 2 * number * CODE**2) / text
    for norm in (model.layers[1].attention_norm, model.layers[1].mlp_norm):
        norm.weight[:old] *= more.sqrt()

    block = model.layers[2]
    block.attention_norm.weight[code] = residual / CODE
    half = shape.heads // 2 * (shape.width // shape.heads)
    query, key, value = block.attention.qkv.weight.chunk(3)
    for weight, rows in ((query, MATCH * values), (key, MATCH * values @ turn.T), (value, values)):
        weight[:half] = 0
        weight[: len(values), code] = rows
    block.attention.out.weight[:, :half] = 0
    block.attention.out.weight[code, : len(values)] = WRITTEN / many * values.T
    model.norm.weight[code] = READ


def _looking_back(model: Decoder, code: slice, values: Tensor, turn: Tensor) -> None:
    """Heads of block 0 attend to the place before: their queries and keys depend on no token."""
    shape, block = model.shape, model.layers[0]
    size = float(model.embed.weight.square().mean().sqrt())
    constant, width = code.start - 1, shape.width // shape.heads
    half = shape.heads // 2 * width
    block.attention_norm.weight[code] = size / CODE
    block.attention_norm.weight[constant] = size / CONSTANT
    query, key, value = block.attention.qkv.weight.chunk(3)
    pairs = torch.arange(PAIRS)
    angles = shape.base ** (-2.0 * pairs / width)
    scale = (PEAK * width**0.5 / float((1 - angles.cos()).sum())) ** 0.5
    for weight in (query, key, value):
        weight[:half] = 0
    for head in range(shape.heads // 2):
        rows = head * width + pairs
        key[rows, constant] = scale
        query[rows, constant] = scale * angles.cos()
        query[rows + width // 2, constant] = -scale * angles.sin()
    even = (CODE * len(turn) / len(values)) ** 0.5  # what reads and what writes are of one size
    value[: len(values), code] = even * values
    block.attention.out.weight[:, :half] = 0
    block.attention.out.weight[code, : len(values)] = even * turn @ values.T
