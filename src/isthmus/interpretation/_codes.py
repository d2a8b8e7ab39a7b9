"""From activations to an autoencoder's code and back, row by row, in the activations' units.

An autoencoder whose rows are two points side by side (``signal.parts``) reads the first and writes
the second, as transcoders do, where its decoder returns no more than the second. An encoder that
says how much it reads (``inputs``) divides rows itself.
"""

from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Gaussian
from isthmus.bottlenecks import Dictionary, DictionaryEncoder
from isthmus.bottlenecks.transcode import TranscoderEncoder
from isthmus.errors import IsthmusError


def _divided(autoencoder: Autoencoder) -> tuple[int, int]:
    """Elements of a row's first part, and of all the others."""
    signal = autoencoder.signal
    inputs = getattr(autoencoder.encoder, "inputs", None)
    if isinstance(inputs, int):
        return inputs, signal.numel - inputs
    if signal.kind == "collection" or not signal.parts:
        return signal.numel, 0
    first = next(iter(signal.parts.values())).numel
    return first, signal.numel - first


def coded(autoencoder: Autoencoder, x: Tensor) -> Code:
    """The deterministic code of activations ``(rows, width)``, gradients kept."""
    first, rest = _divided(autoencoder)
    if x.shape[-1] not in (first, first + rest):
        raise IsthmusError(
            f"the activations have {x.shape[-1]} elements and the autoencoder reads {first}: name "
            "the point that it was trained on"
        )
    scale = autoencoder.scaler.scale
    rows = F.pad(x.to(scale.device, scale.dtype), (0, first + rest - x.shape[-1]))
    return autoencoder.clean_code(autoencoder.scaler(rows.unflatten(1, autoencoder.signal.shape)))


def decoded(autoencoder: Autoencoder, code: Code) -> Tensor:
    """The reconstruction from a code, ``(rows, width written)``."""
    recon = autoencoder.likelihood.mean(autoencoder.decode_code(code))
    first, rest = _divided(autoencoder)
    if not rest or recon[0].numel() != rest:
        return autoencoder.scaler.inverse(recon).flatten(1)
    whole = F.pad(recon.flatten(1), (first, 0))
    return autoencoder.scaler.inverse(whole)[:, first:]


def linear_dictionary(autoencoder: Autoencoder) -> Dictionary | None:
    """The decoder where it is linear, one row for each latent; else None."""
    decoder = autoencoder.decoder
    if not isinstance(decoder, Dictionary) or type(decoder).forward is not Dictionary.forward:
        return None
    return decoder if type(autoencoder.likelihood) is Gaussian else None


def read_rows(autoencoder: Autoencoder) -> tuple[Tensor, Tensor] | None:
    """What each latent's pre-activation is of activations ``x``: ``x @ rows.T + bias``.

    ``rows`` ``(latents, width read)`` and ``bias`` ``(latents,)`` take ``x`` in its own units:
    scaler, centre and factor are multiplied in. None where the encoder is not linear.
    """
    encoder, scaler = autoencoder.encoder, autoencoder.scaler
    linear = (DictionaryEncoder.forward, TranscoderEncoder.forward)
    if not isinstance(encoder, DictionaryEncoder) or type(encoder).forward not in linear:
        return None
    first, _ = _divided(autoencoder)
    scale, offset = (
        t.flatten().expand(autoencoder.signal.numel)[:first] for t in (scaler.scale, scaler.offset)
    )
    factor = encoder.factor if isinstance(encoder, TranscoderEncoder) else 1.0
    rows = encoder.weight * (factor / scale)
    bias = encoder.bias - rows @ offset
    if encoder.subtract_bias:
        bias = bias - encoder.weight @ encoder._dictionary[0].bias
    return rows, bias


def written_bias(autoencoder: Autoencoder) -> Tensor | None:
    """What is written where no latent is active, ``(width written,)``; None as `written_rows`."""
    dictionary = linear_dictionary(autoencoder)
    if dictionary is None:
        return None
    size = len(dictionary.bias)
    scaler, whole = autoencoder.scaler, autoencoder.signal.numel
    scale, offset = (t.flatten().expand(whole)[-size:] for t in (scaler.scale, scaler.offset))
    return dictionary.bias * scale + offset


def written_rows(autoencoder: Autoencoder, latents: Tensor | None = None) -> Tensor | None:
    """What one unit of each latent adds, ``(latents, width written)``, in the activations' units.

    Of all latents or of those given; None where the decoder is no linear dictionary.
    """
    dictionary = linear_dictionary(autoencoder)
    if dictionary is None:
        return None
    rows = dictionary.weight if latents is None else dictionary.weight[latents]
    scale = autoencoder.scaler.scale.flatten()
    # Where a row of data holds more than is written, what is written comes last.
    return rows * (scale if len(scale) == 1 else scale[-rows.shape[1] :])
