"""A small language model and dictionaries for it, made at random."""

import torch

from isthmus.anatomy import Signal
from isthmus.language import Decoder, LanguageModel, Shape, Tokens
from isthmus.recipes import get_recipe

BOS, WIDTH, VOCABULARY = 1, 16, 40
POINT = "layers.0"


class Letters:
    """One token a character; 0 and 1 stand for no text."""

    vocabulary = VOCABULARY
    bos = BOS
    special = frozenset({0, BOS})

    def encode(self, text):
        return [2 + ord(character) % (VOCABULARY - 2) for character in text]

    def decode(self, tokens):
        return "".join(self.pieces(tokens))

    def pieces(self, tokens):
        return [chr(96 + t) for t in tokens]


def language(seed=0, layers=2):
    torch.manual_seed(seed)
    shape = Shape(VOCABULARY, WIDTH, 2, layers, 32, 32)
    module = Decoder(shape)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)  # so that the text before a token matters
    weight = module.embed.weight.detach() * module.norm.weight.detach()
    module = module.eval().requires_grad_(False)
    return LanguageModel("made", f"seed-{seed}", module, Letters(), 32, True, weight)


def tokens(rows=12, places=14, seed=0, documents=4):
    """Rows of random letters behind a BOS, every third row cut short by padding."""
    generator = torch.Generator().manual_seed(seed)
    # Some letters far more often than others, so that latents have what to fire on.
    ids = 2 + (38 * torch.rand(rows, places, generator=generator) ** 2).long()
    ids[:, 0] = BOS
    mask = torch.ones(rows, places, dtype=torch.bool)
    for row in range(2, rows, 3):
        mask[row, 4 + row % (places - 4) :] = False
    ids[~mask] = 0
    names = [f"document {i}" for i in range(documents)]
    return Tokens(
        ids, mask, torch.arange(rows) * documents // rows, torch.zeros(rows).long(), names
    )


def ordinary(text):
    """Which places hold ordinary tokens."""
    return text.mask & (text.ids != BOS)


def residual(host, text, point=POINT):
    """The activations at a point ``(rows, places, width)``, by a hook of one's own."""
    kept = []
    handle = host.module.get_submodule(point).register_forward_hook(
        lambda module, args, out: kept.append(out)
    )
    with torch.no_grad():
        host.module(text.ids)
    handle.remove()
    return kept[0]


def dictionary(recipe="topk", latents=48, scaling="global", x=None, width=WIDTH, **options):
    """An untrained dictionary, scaled and centred on ``x``."""
    page = get_recipe(recipe)
    if x is None:
        x = residual(language(), tokens())[ordinary(tokens())]
    if "k" in page.model_options.model_fields:
        options = {"k": 4, **options}
    options = {"latent_dim": latents, "scaling": scaling, **options}
    torch.manual_seed(0)
    built = page.build(Signal("vector", (width,)), page.parse(options)[0])
    with torch.no_grad():
        built.prepare(x)
    return built.eval()
