"""Steering: a model run with some of a dictionary's latents changed, everything else kept."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, SparseCode, atoms, code_of, evaluating
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded, decoded
from isthmus.interpretation.places import Places
from isthmus.interpretation.splice import Edit, spliced
from isthmus.language import LanguageModel, generate


class Steering(Edit):
    """``x - decode(z) + decode(z')``: the code changed, its error kept.

    z' is z with, for the latents named, ``z + add``, ``clamp``, ``z * scale`` or zero (``ablate``),
    in the units of the code as ``encode`` returns it. The difference is in the activation's units:
    the scaler's factor counts, its offset and the decoder's bias cancel. With a linear dictionary
    only the latents named are decoded, and places where none of them changes keep their bits.

    autoencoder
        The dictionary (any autoencoder that decodes from ``z``).
    add, clamp, scale
        A number for each latent. Adding a direction is the steering of Turner et al. (2023);
        clamping that of Templeton et al. (2024, "Scaling Monosemanticity").
    ablate
        Latents that become zero.
    places
        Where, counted from the beginning of each row: see :class:`Edit`. During generation places
        go on after the prompt.
    where_active
        Change a latent only where it is active (clamping to a negative number there is the
        unlearning of Farrell et al. 2024, arXiv:2410.19278).
    reads
        See :class:`Edit`: the point that is encoded, for a transcoder.

    A latent that does not exist, or that is named twice, is an :class:`IsthmusError`.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        add: Mapping[int, float] | None = None,
        clamp: Mapping[int, float] | None = None,
        scale: Mapping[int, float] | None = None,
        ablate: Sequence[int] = (),
        places: Places | None = None,
        *,
        where_active: bool = False,
        reads: str | None = None,
    ) -> None:
        super().__init__(places, reads)
        self.autoencoder, self.where_active = autoencoder, where_active
        # z' = factor * z + shift covers all four.
        changes: dict[int, tuple[float, float]] = {}
        for kind, change in (
            ({j: (1.0, float(v)) for j, v in (add or {}).items()}, "added"),
            ({j: (0.0, float(v)) for j, v in (clamp or {}).items()}, "clamped"),
            ({j: (float(v), 0.0) for j, v in (scale or {}).items()}, "scaled"),
            (dict.fromkeys(ablate, (0.0, 0.0)), "ablated"),
        ):
            for latent, line in kind.items():
                if latent in changes:
                    raise IsthmusError(
                        f"latent {latent} is {change} and changed in another way, too: name it once"
                    )
                changes[latent] = line
        if not changes:
            raise IsthmusError("nothing is steered: pass add, clamp, scale or ablate")
        self.latents = torch.tensor(sorted(changes), dtype=torch.int64)
        lines = torch.tensor([changes[j] for j in sorted(changes)], dtype=torch.float64)
        self.factor, self.shift = lines.unbind(1)

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        with evaluating(self.autoencoder, gradients=True):
            parts = [self._difference(part) for part in read.split(ENCODE_BATCH)]
        return x + torch.cat(parts).to(x)

    def _difference(self, inputs: Tensor) -> Tensor:
        """``decode(z') - decode(z)``, ``(rows, width)``."""
        model = self.autoencoder
        code = coded(model, inputs)
        width = code.width if code.is_sparse else code.z.shape[-1]
        if int(self.latents[0]) < 0 or int(self.latents[-1]) >= width:
            wrong = int(self.latents[0] if self.latents[0] < 0 else self.latents[-1])
            raise IsthmusError(f"there is no latent {wrong}: name latents from 0 to {width - 1}")
        device = model.device
        latents = self.latents.to(device)
        before = _values(code, latents)
        after = before * self.factor.to(before) + self.shift.to(before)
        if self.where_active:
            after = torch.where(before != 0, after, before)
        by_row = model.scaler_of(
            "written"
        ).by_row  # an atom is as long as the row that it is added to
        rows = None if by_row else atoms(model, latents)
        if rows is not None:
            return (after - before) @ rows
        z = code.z.clone()
        z[:, latents] = after
        return decoded(model, code_of(model, z), inputs) - decoded(model, code, inputs)


def _values(code: Code, latents: Tensor) -> Tensor:
    """The values of some latents, ``(rows, len(latents))``, without a dense code if sparse."""
    if not isinstance(code, SparseCode):
        return code.z[:, latents]
    at = torch.full((code.width,), -1, dtype=torch.int64, device=latents.device)
    at[latents] = torch.arange(len(latents), device=latents.device)
    column = at[code.indices]
    values = torch.where(column >= 0, code.values, 0.0)
    empty = values.new_zeros(len(values), len(latents))
    return empty.scatter_add(1, column.clamp_min(0), values)


def steered_generate(
    model: LanguageModel,
    tokens: Tensor,
    point: str,
    steering: Callable[[Tensor], Tensor],
    *,
    new: int = 32,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Text that the model writes while it is steered at ``point``: ``(rows, places + new)``.

    ``tokens`` int64 ``(rows, places)`` are prompts; the rest is for ``isthmus.language.generate``,
    which uses the model's key-value cache: each activation is edited once, when its token is read.
    Special tokens are left alone. For several points at once, call ``generate`` within
    :func:`spliced`.
    """
    with spliced(model, {point: steering}):
        return generate(model, tokens, new, temperature=temperature, top_k=top_k, seed=seed)
