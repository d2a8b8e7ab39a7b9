"""For each latent the few things with the smallest keys, of a stream of any length."""

from collections.abc import Callable, Mapping

import numpy as np

from isthmus.interpretation.latents.entries import ranks

LARGEST = np.uint32(2**32 - 1)
"""No key is as large."""


class Smallest:
    """Keeps the ``keep`` smallest keys of each latent, with what belongs to them.

    Random keys make it a uniform sample, negative sizes the strongest. Of equal keys the earlier
    stay, so that the result does not depend on how the stream was cut. There is room for twice as
    many, and only latents that run out of it are sorted.

    ``fields`` gives the dtype and the shape of what is kept beside the key.
    """

    def __init__(
        self, latents: int, keep: int, fields: Mapping[str, tuple[type, tuple[int, ...]]]
    ) -> None:
        self.keep = keep
        self.fill = np.zeros(latents, np.int64)
        self.bar = np.full(latents, LARGEST)
        room = (latents, 2 * keep)
        # Zeros, since memory of latents that never fire is then never touched.
        self.key = np.zeros(room, np.uint32)
        self.fields: dict[str, np.ndarray] = {
            n: np.zeros((*room, *shape), kind) for n, (kind, shape) in fields.items()
        }

    def offer(
        self,
        latent: np.ndarray,
        key: np.ndarray,
        described: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    ) -> None:
        """Take in a block: latents in order, with a uint32 key each.

        ``described`` returns the fields of the candidates of the given numbers; it is called once,
        with those that are kept for now.
        """
        some = np.flatnonzero(key < self.bar[latent])
        # Stable: within a latent, equal keys stay in the order of the stream.
        some = some[np.argsort(_joint(latent[some], key[some]), kind="stable")]
        some = some[ranks(latent[some]) < self.keep]
        if len(some) == 0:
            return
        chosen, added = np.unique(latent[some], return_counts=True)
        self._compact(chosen[self.fill[chosen] + added > 2 * self.keep])
        at = latent[some], self.fill[latent[some]] + ranks(latent[some])
        self.key[at] = key[some]
        for name, values in described(some).items():
            self.fields[name][at] = values
        self.fill[chosen] += added

    def _compact(self, latents: np.ndarray) -> None:
        """Sort some latents' keys, and drop all but the smallest."""
        if len(latents) == 0:
            return
        keys = np.where(
            np.arange(2 * self.keep) < self.fill[latents, None], self.key[latents], LARGEST
        )
        order = np.argsort(keys, axis=1, kind="stable")[:, : self.keep]
        rows = latents[:, None]
        self.key[latents, : self.keep] = np.take_along_axis(keys, order, 1)
        for values in self.fields.values():
            values[latents, : self.keep] = values[rows, order]
        self.fill[latents] = np.minimum(self.fill[latents], self.keep)
        full = latents[self.fill[latents] == self.keep]
        self.bar[full] = self.key[full, self.keep - 1]

    def sorted(self, latents: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """How many are kept of each of these latents, and their fields ``(latents, keep, ...)``.

        In the order of their keys; beyond the number kept the fields mean nothing.
        """
        self._compact(latents)
        fields = {name: values[latents, : self.keep] for name, values in self.fields.items()}
        return self.fill[latents], fields


def _joint(latent: np.ndarray, key: np.ndarray) -> np.ndarray:
    return (latent.astype(np.uint64) << np.uint64(32)) | key
