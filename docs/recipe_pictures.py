"""The picture of every recipe's page: a small fit of bundled or made data, with a fixed seed.

``make docs`` makes those whose recipe or setting has changed: each PNG holds a key, a hash of both
(comments and docstrings are no part of it), under the word ``isthmus``.
"""

import ast
import hashlib
import inspect
import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.recipes import Recipe

FOLDER = Path(__file__).parent / "recipes" / "pictures"
LIMIT = 60_000
"""Bytes of one picture at most."""
WORD = b"isthmus"


@dataclass(frozen=True)
class Setting:
    """What is fitted, and to which rows (:func:`rows_of`)."""

    rows: str
    options: Mapping[str, Any] = field(default_factory=dict)
    plane: bool = False
    """Codes in the plane in the place of traversals."""


MLP = {"network": "mlp", "hidden": (128,)}
"""Networks for small images."""
SHARP = {"likelihood": "gaussian", "sigma": 0.2}
"""A likelihood under which small grey images are worth some nats to tell apart."""
DENSE = {"latent_dim": 10, "steps": 800, "batch_size": 128, **MLP}
DRAWS = {"latent_dim": 10, "steps": 500, "batch_size": 64, **MLP}
ATOMS = {"latent_dim": 128, "steps": 500, "batch_size": 128, "lr": 3e-3}
TOP = {**ATOMS, "k": 8, "k_aux": 32}
L0 = {**ATOMS, "l0": 8.0}
HALVES = {"latent_dim": 8, "steps": 600, "batch_size": 128, **MLP}
VIEWS = {"latent_dim": 32, "steps": 300, "batch_size": 128, **MLP}
TEXTS = {
    "latent_dim": 8,
    "width": 96,
    "embedding": 32,
    "beta": 0.05,
    "word_dropout": 0.0,
    "steps": 1500,
    "batch_size": 64,
    "lr": 3e-3,
}
WALKS = {"latent_dim": 32, "k": 2, "steps": 600, "batch_size": 32, "lr": 3e-3}
PATCHES = {"latent_dim": 32, "depth": 2, "decoder_depth": 1, "patch": 2, "heads": 2}
STAGES = {**DENSE, **SHARP, "steps": 2400, "lr": 1e-3, "second_hidden": (64, 64)}
LAYERS = {"latent_dim": 256, "steps": 400, "batch_size": 256}

SETTINGS: dict[str, Setting] = {
    "abstopk": Setting("digits", TOP),
    "ard-vae": Setting("digits", DENSE),
    "barlow-twins": Setting("digits", VIEWS),
    "batchtopk": Setting("digits", TOP),
    "beta-tcvae": Setting("digits", {**DENSE, **SHARP, "beta": 4.0}),
    "beta-vae": Setting("digits", {**DENSE, **SHARP, "capacity": 12.0, "gamma": 20.0}),
    "bigan": Setting("wine", {"latent_dim": 6, "steps": 1200, "batch_size": 64, "hidden": (32,)}),
    "byol": Setting("digits", VIEWS),
    "ciwae": Setting("digits", DRAWS),
    "codebook": Setting("digits", {**ATOMS, "k": 4}),
    "cross-layer-transcoder": Setting("all layers", {**LAYERS, "latent_dim": 128, "k": 8}),
    "crosscoder": Setting("layers", {**LAYERS, "k": 8}),
    "csae": Setting("mixed halves", {**ATOMS, "l0": 8.0}),
    "daef": Setting("wine", {"latent_dim": 6}),
    "deep-dictionary": Setting("digits", {"latent_dim": 32, "hidden": (64,)}),
    "denoising": Setting("digits", {**DENSE, "latent_dim": 16}),
    "depict": Setting("digits", {"clusters": 10, "steps": 300}, plane=True),
    "g-sae": Setting("gradients", {**LAYERS, "k": 8}),
    "gated": Setting("digits", L0),
    "gba": Setting("digits", {**ATOMS, "rates": 4, "every": 10, "steps": 800}),
    "gon": Setting("digits", {"latent_dim": 16, "steps": 250, "batch_size": 64}),
    "ica": Setting("digits", {"latent_dim": 32}),
    "iwae": Setting("digits", DRAWS),
    "jumprelu": Setting("digits", L0),
    "k-means": Setting("digits", {"latent_dim": 64}),
    "k-sparse": Setting("digits", {**ATOMS, "k": 8}),
    "llama-scope": Setting("digits", {**ATOMS, "k": 8}),
    "mae": Setting("digits", {**PATCHES, "steps": 400, "batch_size": 128}),
    "matryoshka": Setting("digits", TOP),
    "mfr": Setting("digits", {**ATOMS, "k": 8}),
    "miwae": Setting("digits", DRAWS),
    "mmvae": Setting("halves", HALVES),
    "mopoe": Setting("halves", HALVES),
    "mp-sae": Setting("digits", {**ATOMS, "k": 8}),
    "msae": Setting("digits", {**ATOMS, "k": 8}),
    "mvae": Setting("halves", HALVES),
    "nmf": Setting("digits", {"latent_dim": 32}),
    "pae": Setting("breast-cancer", {"latent_dim": 4, "steps": 500, "batch_size": 64}),
    "pca": Setting("digits", {"latent_dim": 32}),
    "piwae": Setting("digits", DRAWS),
    "plain": Setting("digits", DENSE),
    "qlae": Setting("digits", DENSE),
    "relu-l1": Setting("digits", L0),
    "sign": Setting("digits", {"latent_dim": 64, "steps": 500, "batch_size": 128}),
    "simsiam": Setting("digits", VIEWS),
    "sparsey": Setting("digits", {"units": 32, "grid": 4}, plane=True),
    "sparse-coding": Setting("digits", {"latent_dim": 128, "k": 8}),
    "swae": Setting("digits", DENSE),
    "switch": Setting("digits", {**TOP, "experts": 4}),
    "temporal": Setting("walks", WALKS),
    "text-vae": Setting("texts", TEXTS),
    "topk": Setting("digits", TOP),
    "top-afa": Setting("digits", {**ATOMS, "k_aux": 32}),
    "topological": Setting("digits", {**DENSE, "latent_dim": 2}, plane=True),
    "transcoder": Setting("in and out", {**LAYERS, "k": 8}),
    "trimmed-linear-vae": Setting("breast-cancer", {"latent_dim": 4}),
    "two-stage-vae": Setting("digits", STAGES),
    "vae": Setting("digits", {**DENSE, **SHARP}),
    "vq-vae": Setting("digits", {"latent_dim": 8, "entries": 32, "steps": 250, "batch_size": 128}),
    "vsae": Setting("digits", {**TOP, "sigma": 0.3}),
}
ROWS = {
    "digits": "scikit-learn's digits, 8 x 8 pixels",
    "halves": "the upper and lower halves of scikit-learn's digits, as two arrays",
    "mixed halves": "pairs of scikit-learn's digits, whose second side has another's upper half",
    "wine": "scikit-learn's wines, 13 measurements",
    "breast-cancer": "scikit-learn's tumours, 30 measurements",
    "layers": "two layers of the language model that the package brings, on text of its own",
    "all layers": "what all MLPs of the package's language model read and write",
    "gradients": "a layer of the language model that the package brings, and the loss's gradients "
    "there, on text of its own",
    "in and out": "what an MLP of the package's language model reads and writes",
    "texts": "made sentences",
    "walks": "made series of four slow walks with a few spikes",
}
"""What the rows of a setting are."""
POINTS = {
    "layers": "layers.1,layers.2",
    "all layers": "layers.*.mlp:in,layers.*.mlp:out",
    "gradients": "layers.1,layers.1:gradient",
    "in and out": "layers.1.mlp:in,layers.1.mlp:out",
}
"""Where rows of the language model are taken."""


def rows_of(name: str) -> tuple[Any, Any, Any]:
    """Rows to fit to, rows to draw, and the labels of these, or None."""
    from isthmus import data

    if name in POINTS:
        source = data.as_source(f"lm:resident@{POINTS[name]}?tokens=8000&text=samples")
        return source, source, None
    if name == "walks":
        rows = made_walks()
        return rows[:-40], rows[-40:], None
    if name == "texts":
        texts = made_texts()
        return texts[:-40], texts[-40:], None
    if name in ("wine", "breast-cancer"):
        from sklearn import datasets

        frame = getattr(datasets, f"load_{name.replace('-', '_')}")(as_frame=True).data
        test = np.arange(len(frame)) % 4 == 0
        return frame[~test], frame[test], None
    held = data.load("digits" if name in ("halves", "mixed halves") else name)
    if name == "mixed halves":
        return made_pairs(held.train), made_pairs(held.test), None
    if name == "halves":
        return *(
            {"upper": x[:, :, :4], "lower": x[:, :, 4:]} for x in (held.train, held.test)
        ), None
    return held.train, held.test, held.test_labels


def made_pairs(images: Any) -> dict[str, Any]:
    """Images, and the same with the upper half of the image that comes next."""
    x = np.asarray(images)
    halved = np.concatenate([np.roll(x, 1, axis=0)[:, :, :4], x[:, :, 4:]], axis=2)
    return {"whole": x, "mixed": halved}


def made_walks() -> np.ndarray:
    """Series ``(rows, 32, 4)`` that drift slowly, each with a few sudden spikes."""
    rng = np.random.default_rng(0)
    drift = np.cumsum(0.15 * rng.standard_normal((1200, 32, 4)), axis=1)
    spikes = 2.0 * (rng.random((1200, 32, 1)) < 0.08) * np.eye(4)[rng.integers(4, size=(1200, 32))]
    return (drift + rng.standard_normal((1200, 1, 4)) + spikes).astype(np.float32)


def made_texts() -> list[str]:
    """Sentences of a small grammar."""
    rng = np.random.default_rng(0)
    who = ("a dog", "the cat", "one bird", "my fish", "her horse")
    does = ("sees", "likes", "hears", "finds")
    how = ("today", "at night", "in town", "by the sea")
    parts = (who, does, who, how)
    return [" ".join(part[rng.integers(len(part))] for part in parts) + "." for _ in range(1200)]


def caption(recipe: Recipe) -> str:
    """What a page says below its picture, from the setting alone."""
    setting = SETTINGS[recipe.name]
    options = ", ".join(f"{k}={_said(v)}" for k, v in setting.options.items())
    return (
        f"Fitted to {ROWS[setting.rows]}, with seed 0 and {options}; the rows shown are held out."
    )


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def key_of(recipe: Recipe) -> str:
    """A hash of the recipe's page, without comments and docstrings, and of its setting."""
    setting = SETTINGS[recipe.name]
    page = Path(inspect.getfile(recipe.build_function)).read_text(encoding="utf-8")
    told = f"{ast.dump(_bare(ast.parse(page)))} {setting}"
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def _bare(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            texts = [isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body]
            node.body = [n for n, text in zip(body, texts, strict=True) if not text]  # type: ignore[attr-defined]
    return tree


def key_in(path: Path) -> str | None:
    """The key that a PNG holds; None where there is no such file or key."""
    if not path.exists():
        return None
    content, place = path.read_bytes(), 8
    while place + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        if kind == b"tEXt" and body.startswith(WORD + b"\0"):
            return body[len(WORD) + 1 :].decode()
        place += size + 12
    return None


def with_key(content: bytes, key: str) -> bytes:
    """A PNG that holds a key, behind its head."""
    body = b"tEXt" + WORD + b"\0" + key.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return content[:33] + chunk + content[33:]


def drawn(recipe: Recipe) -> bytes:
    """The picture of a recipe as PNG."""
    import isthmus
    from isthmus import notices, pictures

    setting = SETTINGS[recipe.name]
    train, shown, labels = rows_of(setting.rows)
    with notices.collected(quiet=True):
        options = dict(setting.options)
        model = isthmus.fit(recipe.name, train, seed=0, progress=False, **options)
        picture = pictures.portrait(model, shown, labels=labels, plane=setting.plane)
    return _few_colours(picture.png(dpi=84))


def _few_colours(content: bytes) -> bytes:
    """The PNG with 128 colours, a third of its size."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def make(recipes: Mapping[str, Recipe], every: bool = False) -> list[Path]:
    """Make the pictures whose key is another; returns those made."""
    made = []
    for name, recipe in recipes.items():
        path, key = FOLDER / f"{name}.png", key_of(recipe)
        if key_in(path) == key and not every:
            continue
        content = with_key(drawn(recipe), key)
        if len(content) > LIMIT:
            raise SystemExit(f"the picture of {name} has {len(content):,} bytes: draw less")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        made.append(path)
    return made
