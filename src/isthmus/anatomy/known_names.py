"""Names by which dictionaries are known: ``W_enc``, ``W_dec``, ``cfg``; folding and its inverse."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from isthmus.anatomy import dictionary
from isthmus.anatomy.dictionary import LinearDecoder, LinearEncoder
from isthmus.anatomy.each import EachScaler, sole
from isthmus.anatomy.likelihood import Gaussian
from isthmus.anatomy.rule import Ruled
from isthmus.anatomy.scaler import Scaler
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


_BY_ROW = {
    "rows": "rows", "rows-norm": "rows-norm", "rows-sample": "layer_norm",
    "rows-length": "constant_norm_rescale",
}  # fmt: skip
"""How each row is scaled by itself, in SAELens's words where it has one."""


@dataclass(frozen=True)
class DictionaryConfig:
    """What a dictionary is, in the words that are usual: ``model.cfg``.

    ``metadata`` is the record of the file that it was read from, empty for one fitted here.
    """

    architecture: str
    d_in: int
    d_sae: int
    d_out: int
    apply_b_dec_to_input: bool
    k: int | None
    normalize_activations: str
    rescale_acts_by_decoder_norm: bool
    dtype: str
    device: str
    model_name: str | None = None
    hook_name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class KnownNames:
    """The weights of a linear dictionary by their usual names; a mixin of ``Autoencoder`` alone.

    They are in the *user's* units: of ``x`` as the data have it, pre-activations are
    ``(x - b_dec) @ W_enc + b_enc``, without ``- b_dec`` where ``cfg.apply_b_dec_to_input`` is
    false, and reconstructions ``z @ W_dec + b_dec``. Where each row is scaled by itself, ``x`` is
    the scaled row, and ``cfg.normalize_activations`` says how. Where nothing is scaled they are
    views of the parameters, else copies with the scaler multiplied in. What is no linear dictionary
    does not have them (AttributeError).
    """

    @property
    def W_enc(self) -> Tensor:
        """The encoder's weight, ``(d_in, d_sae)``."""
        return self._rows()[0].T

    @property
    def b_enc(self) -> Tensor:
        """The encoder's bias, ``(d_sae,)``."""
        encoder = self._encoder()
        if encoder.subtract_bias:
            return cast(Tensor, encoder.bias).detach()  # type: ignore[attr-defined]
        return self._rows()[1]

    @property
    def W_dec(self) -> Tensor:
        """The atoms, ``(d_sae, d_out)``."""
        return self._decoder().atoms().detach() if self._by_row else self._asked(dictionary.atoms)

    @property
    def b_dec(self) -> Tensor:
        """What is rebuilt where no latent is on (of a row of zeros), ``(d_out,)``."""
        if self._by_row:
            return self._decoder().offset.detach()
        bias, skip = self._asked(dictionary.offset), self.W_skip
        read = self._itself.scaler_of("read")
        return bias if skip is None else bias - skip @ read.offset.flatten().expand(self.d_in)

    @property
    def W_skip(self) -> Tensor | None:
        """What leads from ``x`` to the output past the latents, ``(d_out, d_in)``; or None."""
        skip = self._decoder().skip
        if skip is None:
            return None
        read, written = (
            self._itself.scaler_of(role).scale.flatten() for role in ("read", "written")
        )
        return skip.detach() * written[:, None] / read

    @property
    def thresholds(self) -> Tensor | None:
        """What each latent must exceed to be on, ``(d_sae,)``; None where there is no such number.

        (``threshold`` is the method that says where anomalies begin.)
        """
        return self._bottleneck().rule().threshold

    @property
    def d_in(self) -> int:
        """Elements that are read."""
        return int(self._rows()[0].shape[1])

    @property
    def d_sae(self) -> int:
        """Latents."""
        return int(self._rows()[0].shape[0])

    @property
    def cfg(self) -> DictionaryConfig:
        """What it is, as one object."""
        model, encoder, rule = self._itself, self._encoder(), self._bottleneck().rule()
        about = dict(model.config.get("published") or {})
        return DictionaryConfig(
            architecture=rule.activation,
            d_in=self.d_in,
            d_sae=self.d_sae,
            d_out=int(self.b_dec.shape[0]),
            apply_b_dec_to_input=encoder.subtract_bias,
            k=rule.k,
            normalize_activations=_BY_ROW.get(str(model.scaler_of("read").mode), "none"),
            rescale_acts_by_decoder_norm=rule.weigh,
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
            model_name=about.get("model_name"),
            hook_name=about.get("hook_name"),
            metadata=about,
        )

    @torch.no_grad()
    def fold_decoder_norm(self) -> Tensor:
        """Give all atoms length 1 in place: latents become as many times as large as those were.

        Reconstructions stay the same. Returns the lengths ``(d_sae,)``, by which
        :meth:`unfold_decoder_norm` takes it back; an atom of no length stays as it is. An
        :class:`IsthmusError` where latents are compared by their sizes alone, so that others would
        be on.
        """
        lengths = self._decoder().atoms().norm(dim=1)
        lengths = torch.where(lengths > 0, lengths, 1.0)
        self._multiply(lengths)
        return lengths

    @torch.no_grad()
    def unfold_decoder_norm(self, lengths: Tensor) -> None:
        """Give atoms of length 1 the ``lengths`` ``(d_sae,)`` that they had.

        An :class:`IsthmusError`, and nothing changed, where they are no lengths of these atoms.
        """
        width = len(self._decoder().atoms())
        if lengths.shape != (width,) or not bool((lengths.isfinite() & (lengths > 0)).all()):
            raise IsthmusError(
                f"lengths of shape {tuple(lengths.shape)} are not {width} positive numbers: pass "
                "what fold_decoder_norm() returned"
            )
        self._multiply(1.0 / lengths)

    @torch.no_grad()
    def fold_scale(self) -> Scaler:
        """Multiply the scaler into the weights, in place: codes and reconstructions stay the same.

        Returns the scaler that the model had, by which :meth:`unfold_scale` takes it back.
        """
        model = self._itself
        removed = model.scaler
        self._move(model.scaler_of("read"), model.scaler_of("written"))
        parts = model.signal.parts
        plain = {name: Scaler(part.shape) for name, part in parts.items()}
        self._scale_by(EachScaler(plain) if parts else Scaler(model.signal.shape), "none")
        return removed

    @torch.no_grad()
    def unfold_scale(self, scaler: Scaler) -> None:
        """Scale by ``scaler`` again, in place, and divide the weights by it."""
        model = self._itself
        mode: Any = scaler.mode.removesuffix("-norm")
        if isinstance(scaler, EachScaler):
            mode = {name: part.mode.removesuffix("-norm") for name, part in scaler.items()}
        self._scale_by(scaler, mode)
        self._move(_inverse(model.scaler_of("read")), _inverse(model.scaler_of("written")))

    def _scale_by(self, scaler: Scaler, mode: Any) -> None:
        model = self._itself
        model.scaler = scaler.to(model.device)
        if "scaling" in model.config.get("options", {}):
            model.config["options"] = {**model.config["options"], "scaling": mode}

    def _move(self, read: Scaler, written: Scaler) -> None:
        encoder, decoder, bottleneck = self._encoder(), self._decoder(), self._bottleneck()
        self._check_apart()
        if read.by_row:
            raise IsthmusError(
                "each row is scaled by itself (scaling=rows), which no weights can hold: keep the "
                "scaler, or fit with scaling=global"
            )
        if bottleneck.rule().weigh and written.scale.numel() > 1:
            raise IsthmusError(
                "latents are compared by the lengths of their atoms, which are others in units of "
                "each column: keep the scaler, or fit with scaling=global"
            )
        bottleneck.lengthened(written.scale)
        decoder.rescale(*_flat(written, decoder.offset))
        encoder.rescale(*_flat(read, decoder.offset))
        decoder.reread(*_flat(read, decoder.offset))
        self._free()

    def _multiply(self, factors: Tensor) -> None:
        self._check_apart()
        self._bottleneck().times(factors)
        self._encoder().times(factors)
        self._decoder().times(1.0 / factors)
        self._free()

    def _check_apart(self) -> None:
        encoder: Any = self._encoder()
        decoder: Any = self._decoder()
        if getattr(encoder, "weight", None) is getattr(decoder, "weight", encoder):
            raise IsthmusError(
                "encoder and decoder share one weight, which cannot be folded: fit without tied"
            )
        if type(encoder).times is LinearEncoder.times:
            raise dictionary.fixed(encoder)

    def _free(self) -> None:
        """Atoms that are no longer of length 1 are not brought back to it by training."""
        decoder: Any = self._decoder()
        lengths = decoder.atoms().norm(dim=1)
        if getattr(decoder, "unit", False) and not torch.allclose(
            lengths, torch.ones_like(lengths)
        ):
            decoder.unit = False
            if "unit" in self._itself.config.get("options", {}):
                self._itself.config["options"] = {**self._itself.config["options"], "unit": False}

    @property
    def _itself(self) -> "Autoencoder":
        return cast("Autoencoder", self)

    @property
    def _by_row(self) -> bool:
        return self._itself.scaler_of("read").by_row

    def _rows(self) -> tuple[Tensor, Tensor]:
        if self._by_row:
            weight, bias = self._encoder().read_rows(self._itself)
            return weight.detach(), bias.detach()
        rows = dictionary.read_rows(self._itself)
        if rows is None:
            raise AttributeError("the encoder is not linear in the data's units")
        return rows[0].detach(), rows[1].detach()

    def _asked(self, of: Any) -> Tensor:
        tensor = of(self._itself)
        if not isinstance(tensor, Tensor):
            raise AttributeError("the decoder is no dictionary of one atom a latent")
        return tensor.detach()

    def _encoder(self) -> LinearEncoder:
        encoder = sole(self._itself.encoder)
        if not isinstance(encoder, LinearEncoder):
            raise AttributeError("the encoder is not linear in the data's units")
        return encoder

    def _decoder(self) -> LinearDecoder:
        model = self._itself
        if not isinstance(model.decoder, LinearDecoder) or type(model.likelihood) is not Gaussian:
            raise AttributeError("the decoder is no dictionary of one atom a latent")
        return model.decoder

    def _bottleneck(self) -> Ruled:
        bottleneck = self._itself.bottleneck
        if not isinstance(bottleneck, Ruled):
            raise AttributeError("the bottleneck has no rule of which latents are on")
        return bottleneck


def _flat(scaler: Scaler, like: Tensor) -> tuple[Tensor, Tensor]:
    return scaler.scale.flatten().to(like), scaler.offset.flatten().to(like)


def _inverse(scaler: Scaler) -> Scaler:
    """The scaler of the way back."""
    inverse = Scaler((), "none")
    inverse.offset, inverse.scale = -scaler.offset / scaler.scale, 1.0 / scaler.scale
    return inverse
