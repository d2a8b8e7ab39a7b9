"""The canonical record of a dictionary: all that decides its numbers, and where it is from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from isthmus.anatomy.rule import Activation

RowNorm = Literal["none", "layer_norm", "constant_norm"]
NORMS = {
    "none": "",
    "layer_norm": "x <- (x - mean(x)) / (std(x) + 1e-5) of each row, std with n - 1; "
    "y <- y std(x) + mean(x)",
    "constant_norm": "x <- x sqrt(d) / |x| of each row; y <- y |x| / sqrt(d)",
}
"""The formula of each normalisation of rows."""


@dataclass
class Record:
    """What a published dictionary is.

    format, release, source, revision
        Whose layout it has, the version of the library that wrote it where it says so, where it
        was read, and at which revision.
    activation, k, threshold
        Which latents are on (:class:`~isthmus.anatomy.Rule`); ``threshold`` says whether there is
        ``one`` for all, or one ``per latent``.
    tolerance, until_repeat
        Of matching pursuit: where it ends before ``k`` steps.
    weigh
        Whether latents are compared by their size times the length of their atom.
    subtract_bias
        Whether the decoder's bias is subtracted before encoding.
    input_scale, output_scale
        What is read is multiplied by the first, what is written divided by the second.
    row_norm
        How each row is normalised: :data:`NORMS` has the formulas.
    decoder_norm
        ``unit``: atoms have length 1; ``free``; ``folded``: they were made so when it was read.
    context
        Layers of attention that predict a position from those before it (temporal dictionaries).
    skip
        Whether a matrix leads from what is read to what is written past the latents.
    dtype
        The type of the weights in the file.
    module, side
        Path of the module in the model, and whether its input (``in``) or output is read;
        ``module_out``, ``side_out`` of what is written, where that is another.
    hook_name, hook_name_out
        The same places in the names of TransformerLens.
    model_name, model_revision
        The model whose activations these are.
    tokens
        Which tokens were left out, or what stands before each text, as the file says it.
    sha256
        Of each file that was read.
    notes
        What could not be represented or was done in reading, a sentence each.
    metadata
        What else the file says of itself.
    """

    format: str
    activation: Activation
    d_in: int
    d_sae: int
    d_out: int
    k: int | None = None
    threshold: Literal["one", "per latent"] | None = None
    tolerance: float = 0.0
    until_repeat: bool = False
    weigh: bool = False
    subtract_bias: bool = False
    input_scale: float = 1.0
    output_scale: float = 1.0
    row_norm: RowNorm = "none"
    decoder_norm: Literal["unit", "free", "folded"] = "free"
    context: int = 0
    skip: bool = False
    transcoder: bool = False
    dtype: str = "float32"
    module: str | None = None
    side: Literal["in", "out"] | None = None
    module_out: str | None = None
    side_out: Literal["in", "out"] | None = None
    hook_name: str | None = None
    hook_name_out: str | None = None
    model_name: str | None = None
    model_revision: str | None = None
    tokens: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    revision: str | None = None
    release: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Record":
        """The record that :meth:`to_dict` made; what it does not know is left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def formula(self) -> str:
        """What is computed, in one line."""
        scaled = "" if self.input_scale == 1.0 else f"{self.input_scale:.6g} "
        x = f"({scaled}x - b_dec)" if self.subtract_bias else f"{scaled}x"
        u = f"u = {x} W_enc + b_enc"
        if self.context:
            u = f"u = max(({x} - p) W_enc, 0) / {4 * self.d_in}, p what is predicted of {x}"
        lengths = " |W_dec|" if self.weigh else ""
        one = "one for all" if self.threshold == "one" else "each its own"
        codes = {
            "relu": "f = max(u, 0)",
            "topk": f"f = u where u > theta, {one}"
            if self.threshold
            else f"f = max(u, 0) of the {self.k} largest u{lengths}",
            "abstopk": f"f = u of the {self.k} largest |u|{lengths}",
            "batchtopk": f"f = u where u{lengths} > theta, {one}",
            "jumprelu": f"f = u where u{lengths} > theta, {one}",
            "groupmax": f"f = max(u, 0) of the largest u of each of {self.k} groups",
            "gated": "f = max(e^r (u - b_enc) + b_mag, 0) where u > 0",
            "matching_pursuit": self._pursuit(),
            "orthogonal_pursuit": self._pursuit() + ", all f fitted anew at each",
            "signed_pursuit": self._pursuit() + ", of either sign",
        }[self.activation]
        back = "" if self.output_scale == 1.0 else f" / {self.output_scale:.6g}"
        written = "f W_dec + b_dec" + (" + x W_skip^T" if self.skip else "")
        written += " + p" if self.context else ""
        y = f"y = ({written}){back}" if back else f"y = {written}"
        pursuit = self.activation.endswith("pursuit")
        parts = [NORMS[self.row_norm], f"r = {x}" if pursuit else u, codes, y]
        return "; ".join(part for part in parts if part)

    def _pursuit(self) -> str:
        """The steps of matching pursuit."""
        ends = f", ends where |r| < {self.tolerance:.6g}" if self.tolerance else ""
        ends += ", ends where j was taken before" if self.until_repeat else ""
        return (
            f"{self.k} times j = argmax(r W_dec^T), c = max(r W_dec_j, 0), f_j <- f_j + c, "
            f"r <- r - c W_dec_j{ends}"
        )
