"""From activations to an autoencoder's code and back, row by row, in the activations' units.

An autoencoder that reads one part of a collection and writes another, as transcoders do, is given
the part that it reads, or all parts by name.
"""

from collections.abc import Mapping

from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Each, Signal, Tree
from isthmus.anatomy.each import tree_error
from isthmus.errors import IsthmusError


def parts_read(autoencoder: Autoencoder) -> dict[str, Signal]:
    """The signals of the parts of a collection that are read, by name; of plain data none."""
    signal, encoder = autoencoder.signal, autoencoder.encoder
    if signal.kind != "collection":
        return {}
    names = encoder.names if isinstance(encoder, Each) else tuple(signal.parts)
    return {name: signal.parts[name] for name in names}


def coded(autoencoder: Autoencoder, x: Tree) -> Code:
    """The deterministic code of activations, gradients kept.

    ``x`` is ``(rows, width)`` of the point that is read, or several points' activations by name.
    """
    points = parts_read(autoencoder)
    if not points:
        return autoencoder.clean_code(autoencoder.scaler(_rows(autoencoder, x, autoencoder.signal)))
    if not isinstance(x, Mapping):
        if len(points) > 1:
            raise IsthmusError(
                f"this autoencoder reads {', '.join(map(repr, points))} together, and one "
                "activation at a time cannot be given to it: use one that reads a single point"
            )
        x = dict.fromkeys(points, x)
    lacking = [name for name in points if name not in x]
    if lacking:
        raise tree_error(lacking, x)
    rows = {name: _rows(autoencoder, x[name], signal) for name, signal in points.items()}
    return autoencoder.clean_code(autoencoder.scaler(rows))


def decoded(autoencoder: Autoencoder, code: Code, of: Tensor | None = None) -> Tensor:
    """The reconstruction from a code, ``(rows, width written)``.

    ``of`` are the activations that the code is of, whose own mean and size come back where each row
    is scaled by itself.
    """
    recon = autoencoder.likelihood.mean(autoencoder.decode_code(code))
    by_row = of is not None and autoencoder.scaler_of("written").by_row
    rows = _rows(autoencoder, of, autoencoder.signal) if by_row and of is not None else None
    flat: Tensor = autoencoder.unscaled(recon, rows).flatten(1)
    return flat


def _rows(autoencoder: Autoencoder, x: Tensor, signal: Signal) -> Tensor:
    """Activations in the shape of a signal, where and as the scaler is."""
    if x.shape[-1] != signal.numel:
        raise IsthmusError(
            f"the activations have {x.shape[-1]} elements and the autoencoder reads "
            f"{signal.numel}: name the point that it was trained on"
        )
    scale = autoencoder.scaler_of("read").scale
    return x.to(scale.device, scale.dtype).unflatten(1, signal.shape)
