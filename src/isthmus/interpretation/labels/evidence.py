"""Which windows an explainer is shown and which ones a label is scored on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from isthmus.errors import IsthmusError, unknown
from isthmus.interpretation.labels.windows import EXPLAINING, SCORING, SILENT, Windows

Sample = Literal["deciles", "top"]
SAMPLES = ("deciles", "top")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Windows of one latent and windows in which it is silent, for one purpose.

    ``firing`` and ``silent`` are numbers of ``windows``.
    """

    latent: int
    windows: Windows
    firing: np.ndarray
    silent: np.ndarray


def for_explaining(
    windows: Windows,
    latent: int,
    rng: np.random.Generator,
    *,
    sample: Sample = "deciles",
    examples: int = 40,
    silent: int = 80,
) -> Evidence:
    """The explainer's windows: at most ``examples`` of the latent, evenly over the groups.

    ``deciles`` takes all groups, ``top`` the strongest examples only.
    """
    if sample not in SAMPLES:
        raise unknown("sample of examples", sample, SAMPLES)
    firing = _of(windows, latent, EXPLAINING)
    if sample == "top":
        firing = firing[windows.group[firing] == 0]
    firing = _evenly(windows, firing, examples, rng)
    return Evidence(
        latent, windows, firing, silent_windows(windows, latent, EXPLAINING, silent, rng)
    )


def for_scoring(
    windows: Windows, latent: int, rng: np.random.Generator, *, examples: int = 50
) -> Evidence:
    """The scoring windows: at most ``examples`` of the latent, evenly over deciles, as many silent.

    No row of text is one of the explainer's, and windows whose text is, token by token, that of an
    explainer's window of the latent (what is printed twice) are left out.
    """
    explained = _of(windows, latent, EXPLAINING)
    firing = _of(windows, latent, SCORING)
    if np.isin(windows.row[firing], windows.row[explained]).any():
        raise IsthmusError(
            f"a scoring window of latent {latent} lies in a row that the explainer saw: find the "
            "features again"
        )
    keys = {windows.text_key(w) for w in explained}
    firing = firing[np.array([windows.text_key(w) not in keys for w in firing], dtype=bool)]
    # The strongest examples belong to a decile, too: they would weigh twice.
    deciles = firing[windows.group[firing] > 0]
    firing = _evenly(windows, deciles if len(deciles) else firing, examples, rng)
    return Evidence(
        latent, windows, firing, silent_windows(windows, latent, SCORING, len(firing), rng)
    )


def silent_windows(
    windows: Windows, latent: int, split: int, number: int, rng: np.random.Generator
) -> np.ndarray:
    """At most ``number`` windows of one part of the rows in which a latent does not fire.

    Where the windows come from other latents' examples (``exact`` is False) it is not known that
    the latent is silent in them; rows in which it is known to fire are left out.
    """
    pool = windows.of_latent.get(SILENT, np.zeros(0, dtype=np.int64))
    pool = pool[windows.split[pool] == split]
    if not windows.exact:
        firing = windows.of_latent.get(latent, np.zeros(0, dtype=np.int64))
        pool = pool[~np.isin(windows.row[pool], windows.row[firing])]
    pool = rng.permutation(pool)
    silent: list[int] = []
    for window in pool:
        if len(silent) == number:
            break
        fired = windows.fired[window]
        if fired is None or latent not in fired:
            silent.append(int(window))
    return np.array(silent, dtype=np.int64)


def _of(windows: Windows, latent: int, split: int) -> np.ndarray:
    """Windows of one latent in one part of the rows in which it fires at all."""
    firing = windows.of_latent.get(latent, np.zeros(0, dtype=np.int64))
    firing = firing[windows.split[firing] == split]
    return np.array([w for w in firing if (windows.values(w) != 0).any()], dtype=np.int64)


def _evenly(
    windows: Windows, firing: np.ndarray, number: int, rng: np.random.Generator
) -> np.ndarray:
    """At most ``number`` windows, as evenly over the groups as they go; none shown twice."""
    _, first = np.unique(
        np.stack([windows.row[firing], windows.begin[firing]], axis=1), axis=0, return_index=True
    )
    firing = rng.permutation(firing[np.sort(first)])
    turn = np.zeros(len(firing), dtype=np.int64)
    for group in np.unique(windows.group[firing]):
        members = np.flatnonzero(windows.group[firing] == group)
        turn[members] = np.arange(len(members))
    return np.sort(firing[np.argsort(turn, kind="stable")[:number]])
