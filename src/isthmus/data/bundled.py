"""Data sets that are always there: scikit-learn's bundled ones and made data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from isthmus.data.made.planted import Planted
from isthmus.data.made.sprites import FACTOR_NAMES, Sprites
from isthmus.data.named import Data

TEST_SHARE = 0.25
SPLIT_SEED = 0
PLANTED_ROWS = (20_000, 4_000)
SPRITE_ROWS = (10_000, 2_000)

_SKLEARN = "BSD-3-Clause (scikit-learn); data CC BY 4.0 (UCI)"
_SPLIT = "A quarter of the rows, drawn with seed 0, is the test part."


def digits() -> Data:
    """1,797 handwritten digits of 8x8 pixels, float32 ``(rows, 1, 8, 8)`` in [0, 1]."""
    bunch = _bunch("digits")
    return _split(
        "digits",
        (bunch.images[:, None] / 16.0).astype(np.float32),
        bunch.target,
        citation="Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits, UCI",
        description="Handwritten digits, 8x8 grey, counts from 0 to 16 divided by 16. " + _SPLIT,
        stratified=True,
    )


def breast_cancer() -> Data:
    """569 tumours, 30 measurements, benign or malignant."""
    bunch = _bunch("breast_cancer")
    return _split(
        "breast-cancer",
        bunch.data.astype(np.float32),
        bunch.target,
        citation="Wolberg, Street, Mangasarian 1993, Breast Cancer Wisconsin (Diagnostic), UCI",
        description="30 measurements of cell nuclei; labels 0 malignant, 1 benign. " + _SPLIT,
        stratified=True,
    )


def wine() -> Data:
    """178 wines, 13 chemical measurements, three growers."""
    bunch = _bunch("wine")
    return _split(
        "wine",
        bunch.data.astype(np.float32),
        bunch.target,
        citation="Aeberhard, Forina 1991, Wine, UCI",
        description="13 chemical measurements of wines from three growers. " + _SPLIT,
        stratified=True,
    )


def iris() -> Data:
    """150 flowers, 4 lengths, three species."""
    bunch = _bunch("iris")
    return _split(
        "iris",
        bunch.data.astype(np.float32),
        bunch.target,
        citation="Fisher 1936, The use of multiple measurements in taxonomic problems",
        description="Lengths and widths of sepals and petals in cm, three species. " + _SPLIT,
        stratified=True,
    )


def diabetes() -> Data:
    """442 patients, 10 standardised measurements, progression after a year."""
    bunch = _bunch("diabetes")
    return _split(
        "diabetes",
        bunch.data.astype(np.float32),
        bunch.target,
        citation="Efron, Hastie, Johnstone, Tibshirani 2004, Least angle regression",
        description="10 standardised measurements; labels are disease progression. " + _SPLIT,
        stratified=False,
    )


def planted() -> Data:
    """24,000 rows of ``Planted()``: 512 directions in 64 dimensions, 8 active in the mean."""
    train, test = PLANTED_ROWS
    x, _ = Planted().sample(train + test)
    return Data(
        "planted",
        x[:train],
        x[train:],
        licence="made data",
        description="Sparse combinations of 512 planted directions in 64 dimensions: the first "
        "rows of Planted() with seed 0, which knows the truth.",
    )


def sprites() -> Data:
    """12,000 of the sprites of ``Sprites()``, drawn with seed 0, bytes ``(rows, 64, 64)``."""
    source = Sprites()
    train, test = SPRITE_ROWS
    numbers = np.random.default_rng(SPLIT_SEED).choice(len(source), train + test, replace=False)
    index = torch.from_numpy(numbers)
    pixels = source.render(index).astype(np.uint8) * np.uint8(255)
    levels = source.factors(index).numpy()
    return Data(
        "sprites",
        pixels[:train],
        pixels[train:],
        levels[:train],
        levels[train:],
        licence="made data",
        citation="after Matthey, Higgins, Hassabis, Lerchner 2017, dSprites",
        description="Binary sprites with five known factors; the labels are the levels of "
        + ", ".join(FACTOR_NAMES)
        + ".",
        kind="image",
    )


BUNDLED: dict[str, Callable[[], Data]] = {
    "breast-cancer": breast_cancer,
    "diabetes": diabetes,
    "digits": digits,
    "iris": iris,
    "planted": planted,
    "sprites": sprites,
    "wine": wine,
}


def _bunch(name: str) -> Any:
    # Imported late: scikit-learn takes a second, and brings pandas where that is installed.
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")()


def _split(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    citation: str,
    description: str,
    stratified: bool,
) -> Data:
    from sklearn.model_selection import train_test_split

    train, test, train_labels, test_labels = train_test_split(
        x, y, test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=y if stratified else None
    )
    return Data(
        name,
        train,
        test,
        train_labels,
        test_labels,
        licence=_SKLEARN,
        citation=citation,
        description=description,
    )
