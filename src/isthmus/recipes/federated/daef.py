"""The deep autoencoder for federated learning: solved layer by layer, merged exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, ReportProgress, Scaler, Signal, Source
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.networks.layers import plain, sizes
from isthmus.networks.merged_statistics import MergedMoments, Ridge, Span, Statistics, merge
from isthmus.objectives import MSE
from isthmus.recipes.options import Hidden, LatentDim, Positive
from isthmus.recipes.registry import recipe

CHUNK = 4096
"""Rows that a partition reads at once; no result depends on it beyond rounding."""

CLIP = 1e-3
"""How far targets of a sigmoid output are kept from 0 and 1, where their logit is infinite."""

OutputName = Literal["linear", "sigmoid"]
ProjectionName = Literal["orthogonal", "xavier"]


# --- solving, alone or in a federation -------------------------------------------------------


@dataclass(frozen=True)
class Solved:
    """All that is solved so far, in float64: what the coordinator sends out before each stage.

    ``offset`` and ``scale`` ``(d,)`` are the scaler's; ``weights`` are ``(in, out)``; ``bias``
    ``(out,)`` is the output layer's.
    """

    offset: Tensor
    scale: Tensor
    weights: tuple[Tensor, ...] = ()
    bias: Tensor | None = None


class DAEFSolver(nn.Module):
    """Solves the layers one after another, each in closed form, from statistics that merge.

    :meth:`fit` treats its source as one partition. In a federation nobody sees the rows of
    another: for each of the :attr:`stages`, every partition computes :meth:`local`, the
    coordinator merges these (:func:`~isthmus.networks.merged_statistics.merge`), and
    :meth:`solve` gives the next :class:`Solved`; :meth:`install` ends it. :meth:`fit_parts` plays
    all roles. How the rows are cut into partitions changes the weights by rounding only, unless
    two singular values around ``latent_dim`` are equal, where the subspace is not unique.

    The random features of the hidden layers are a function of the buffer ``seed`` alone, so all
    partitions have the same. All arithmetic is in float64 on the CPU, whatever the model's device.
    """

    seed: Tensor

    def __init__(
        self,
        encoder: Sequence[int],
        decoder: Sequence[int],
        *,
        penalty: float,
        output_penalty: float,
        projection: ProjectionName,
        output: OutputName,
        seed: int,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = tuple(encoder), tuple(decoder)
        self.penalty, self.output_penalty = penalty, output_penalty
        self.projection, self.output = projection, output
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))

    def fit(self, model: Autoencoder, source: Source, report: ReportProgress) -> dict[str, float]:
        """Solve every layer from one source; the figure ``mse`` is in the model's units."""
        return self.fit_parts(model, [source], report)

    def fit_parts(
        self, model: Autoencoder, sources: Sequence[Source], report: ReportProgress | None = None
    ) -> dict[str, float]:
        """Solve every layer from several partitions, of which only statistics meet."""
        solved, total = self.start(model), len(self.stages) + 1
        for done, stage in enumerate(self.stages):
            if report is not None:
                report(done, total, stage)
            statistics = merge([self.local(solved, stage, source) for source in sources])
            solved = self.solve(model, solved, stage, statistics)
        self.install(model, solved)
        error = sum(self._squared_error(solved, source) for source in sources)
        if report is not None:
            report(total, total, "done")
        return {"mse": error / (sum(map(len, sources)) * model.signal.numel)}

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, in order: the scaler, then each layer."""
        encoder = [f"encoder {i}" for i in range(1, len(self.encoder))]
        hidden = [f"hidden {i}" for i in range(1, len(self.decoder) - 1)]
        return ("scale", *encoder, *hidden, "output")

    def start(self, model: Autoencoder) -> Solved:
        """Nothing solved yet."""
        zeros = torch.zeros(model.signal.numel, dtype=torch.float64)
        return Solved(zeros, torch.ones_like(zeros))

    def local(self, solved: Solved, stage: str, source: Source) -> Statistics:
        """What one partition sends for a stage.

        It holds no rows, but sums over rows: means and second moments of what enters the layer
        can be read off it, and with few rows much about each.
        """
        if stage == "scale":
            return MergedMoments.of(_chunks(source))
        if stage.startswith("encoder"):
            return Span.of(_run(solved, x)[0] for x in _scaled(solved, source))
        if stage.startswith("hidden"):
            return Ridge.of(self._auxiliary(solved, int(stage.split()[1]), source))
        return Ridge.of(self._last(solved, source))

    def solve(self, model: Autoencoder, solved: Solved, stage: str, found: Statistics) -> Solved:
        """Add one stage to what is solved, from the merged statistics of all partitions."""
        if stage == "scale":
            return _with_scale(solved, model.scaler, cast(MergedMoments, found))
        bias = None
        if stage.startswith("encoder"):
            weight = cast(Span, found).leading(self.encoder[int(stage.split()[1])])
        elif stage.startswith("hidden"):
            # The auxiliary network rebuilds the layer's input, so it is transposed for use, and
            # its bias has no place in the other direction.
            weight = cast(Ridge, found).solve(self.penalty)[1:].T
        else:
            both = cast(Ridge, found).solve(self.output_penalty)
            bias, weight = both[0], both[1:]
        return replace(solved, weights=(*solved.weights, weight), bias=bias)

    @torch.no_grad()
    def install(self, model: Autoencoder, solved: Solved) -> None:
        """Write what was solved into the model, rounded to its float32."""
        scaler = model.scaler
        for buffer, values in ((scaler.offset, solved.offset), (scaler.scale, solved.scale)):
            buffer.copy_(values.view(buffer.shape) if buffer.ndim else values[0])
        layers = [part for part in model.modules() if isinstance(part, SolvedLayer)]
        for layer, weight in zip(layers, solved.weights, strict=True):
            layer.weight.copy_(weight)
        assert layers[-1].bias is not None
        assert solved.bias is not None
        layers[-1].bias.copy_(solved.bias)

    def random_layer(self, place: int) -> tuple[Tensor, Tensor]:
        """Random weights ``(in, out)`` and bias ``(out,)`` of hidden layer ``place``, from 1."""
        before, width = self.decoder[place - 1 : place + 1]
        generator = torch.Generator().manual_seed(int(self.seed) + place)
        weight = torch.randn(before, width, generator=generator, dtype=torch.float64)
        bias = torch.randn(width, generator=generator, dtype=torch.float64)
        if self.projection == "xavier":
            return weight * (2.0 / (before + width)) ** 0.5, bias
        tall = weight if before >= width else weight.T
        basis = torch.linalg.qr(tall).Q
        return (basis if before >= width else basis.T), bias / bias.norm()

    def _auxiliary(
        self, solved: Solved, place: int, source: Source
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """An ELM autoencoder: random features of a layer's input h, and h as their target."""
        weight, bias = self.random_layer(place)
        for x in _scaled(solved, source):
            h, before = _run(solved, x)
            # f^-1(h) is where h came from: known exactly, however saturated h is.
            yield torch.sigmoid(h @ weight + bias), before, h * (1.0 - h)

    def _last(
        self, solved: Solved, source: Source
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for x in _scaled(solved, source):
            h, _ = _run(solved, x)
            if self.output == "linear":
                yield h, x, None
            else:
                target = x.clamp(CLIP, 1.0 - CLIP)
                yield h, torch.logit(target), target * (1.0 - target)

    def _squared_error(self, solved: Solved, source: Source) -> float:
        total, hidden = 0.0, replace(solved, weights=solved.weights[:-1])
        assert solved.bias is not None
        for x in _scaled(solved, source):
            out = _run(hidden, x)[0] @ solved.weights[-1] + solved.bias
            recon = out if self.output == "linear" else torch.sigmoid(out)
            total += float((recon - x).square().sum())
        return total


def _chunks(source: Source) -> Iterator[Tensor]:
    """The rows of a source in order, flat, in float64 and the user's units."""
    for start in range(0, len(source), CHUNK):
        index = torch.arange(start, min(start + CHUNK, len(source)))
        yield source.rows(index).flatten(1).cpu().double()


def _scaled(solved: Solved, source: Source) -> Iterator[Tensor]:
    return ((rows - solved.offset) / solved.scale for rows in _chunks(source))


def _run(solved: Solved, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last solved layer's activation, and what it was before f (x itself without a layer)."""
    h = before = x
    for weight in solved.weights:
        before = h @ weight
        h = torch.sigmoid(before)
    return h, before


def _with_scale(solved: Solved, scaler: Scaler, moments: MergedMoments) -> Solved:
    """Offset and scale as :class:`Scaler` defines them, from the moments of all rows.

    They are rounded to float32, so that the layers are solved for the scaler as it will be.
    """
    if scaler.mode == "none":
        return solved
    if scaler.by_row:
        raise IsthmusError(
            "moments of all rows say nothing of each row's own scale: set another scaling than rows"
        )
    if scaler.mode == "columns":
        deviation = (moments.squares / moments.rows).sqrt()
        # A constant column's deviation may be rounding, which must not become variance 1.
        varies = deviation > 1e-12 * moments.mean.abs()
        if not bool(varies.any()):
            raise IsthmusError("every column of the data is constant: there is nothing to learn")
        scale = torch.where(varies, deviation, torch.ones_like(deviation))
        return replace(solved, offset=moments.mean.float().double(), scale=scale.float().double())
    squares = moments.squares / moments.rows + moments.mean.square()
    size = (squares.mean() if scaler.mode == "global" else squares.sum()).sqrt()
    if not bool(size > 0):
        raise IsthmusError("every value of the data is zero: there is nothing to learn")
    return replace(solved, scale=size.float().double().expand_as(solved.scale))


# --- the network -----------------------------------------------------------------------------


class SolvedLayer(nn.Module):
    """``x W + b``, through f where ``sigmoid``; no gradient trains W ``(in, out)`` or b."""

    def __init__(self, before: int, width: int, *, sigmoid: bool, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(before, width), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(width), requires_grad=False) if bias else None
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.weight if self.bias is None else torch.addmm(self.bias, x, self.weight)
        return torch.sigmoid(h) if self.sigmoid else h


def _stack(widths: Sequence[int]) -> list[SolvedLayer]:
    return [SolvedLayer(a, b, sigmoid=True, bias=False) for a, b in pairwise(widths)]


# --- the recipe ------------------------------------------------------------------------------


@recipe(
    "daef",
    family="federated",
    catalogue=62,
    paper="Novoa-Paradela, Fontenla-Romero, Guijarro-Berdiñas, Fast Deep Autoencoder for "
    "Federated learning, 2022, arXiv:2206.05136",
    formula="encoder: W = first left singular vectors of X, H = f(W'X); decoder, per output d: "
    "X F = U S V', M = X F F f^-1(d), w = U (S^2 + penalty I)^-1 U' M, F = diag(f'(f^-1(d)))",
    claim="A deep autoencoder solved layer by layer without iterations detects anomalies as well "
    "as gradient training, is much faster, and partial models merge without raw data.",
    solved=True,
)
def daef(
    signal: Signal,
    *,
    latent_dim: LatentDim = 4,
    hidden: Hidden = None,
    encoder_hidden: Annotated[
        tuple[int, ...], Field(description="widths of further encoder layers, data to latent")
    ] = (),
    output: Annotated[
        OutputName, Field(description="last layer: linear, or sigmoid for data in [0, 1]")
    ] = "linear",
    penalty: Annotated[Positive, Field(description="ridge penalty of the hidden layers")] = 0.01,
    output_penalty: Annotated[
        Positive, Field(description="ridge penalty of the last layer")
    ] = 0.01,
    projection: Annotated[
        ProjectionName,
        Field(description="random features: orthogonal, or xavier (normal, Glorot's variance)"),
    ] = "orthogonal",
    projection_seed: Annotated[
        int | None,
        Field(ge=0, lt=2**62, description="seed of the random features; none: the run's"),
    ] = None,
) -> Autoencoder:
    """Every layer in closed form, from sums over rows that partitions of the data can share.

    The encoder's layers project on the leading left singular vectors of their input (not
    centred) and apply the logistic function f. A hidden layer of the decoder is an ELM
    autoencoder: fixed random features of its input rebuild that input by ridge regression, and
    the transposed weights become the layer. The output layer is a ridge regression of the example
    on the last hidden layer. ROLANN, the ridge regression through f, weights each row by the slope
    of f at its target, and needs of each partition only ``U S`` and ``M``. See
    :class:`DAEFSolver` for federations. No gradient is taken; training options other than
    ``seed`` and ``device`` have no effect.

    Anomalies are rows of low ``score``, minus the mean squared error. The threshold is left to
    the user: the released code offers a percentile of the training errors (90 in its example)
    and 1.5 or 3 interquartile ranges above their upper quartile.

    From the released code: one encoder layer to 4 latents, decoder layers of 8, 12 and 16
    (``hidden`` lists them from data to latent, as everywhere: 16, 12, 8), logistic hidden layers
    and a linear output, columns standardised, bias rows in every ridge regression. The penalties
    are the ROLANN library's 0.01; the authors searched them for each data set (0.9 in their
    example, which also draws ``xavier`` features). A penalty is set against a sum over rows: 0.9
    on few hundred rows shrinks layer after layer to constants. The released code drops the output
    layer's bias after fitting it; here it is kept.

    A sigmoid output needs targets inside (0, 1): data in [0, 1] are clipped to [0.001, 0.999],
    and other data are an error, since stretching them to fit would let one outlier squeeze all
    other rows together.
    """
    numel = plain(signal).numel
    encoder = (numel, *sizes("encoder_hidden", encoder_hidden), latent_dim)
    if any(after > before for before, after in pairwise(encoder)):
        raise IsthmusError(
            f"the encoder's layers {encoder} grow, but {numel} feature(s) have no more singular "
            f"vectors than that: set latent_dim to {min(encoder[:-1])} or less"
        )
    if output == "sigmoid" and not signal.is_unit:
        raise IsthmusError(
            "output=sigmoid needs values between 0 and 1: rescale the data, set scaling=none, or "
            "use output=linear"
        )
    widths = (16, 12, 8) if hidden is None else sizes("hidden", hidden)
    decoder = (latent_dim, *reversed(widths), numel)
    if projection_seed is None:
        # The generator as the run's seed set it, so that other seeds try other features.
        projection_seed = int(torch.randint(2**62, ()))
    last = SolvedLayer(*decoder[-2:], sigmoid=output == "sigmoid", bias=True)
    return Autoencoder(
        signal,
        encoder=nn.Sequential(nn.Flatten(), *_stack(encoder)),
        bottleneck=Identity(),
        decoder=nn.Sequential(*_stack(decoder[:-1]), last, nn.Unflatten(1, signal.shape)),
        objective=MSE(),
        solver=DAEFSolver(
            encoder,
            decoder,
            penalty=penalty,
            output_penalty=output_penalty,
            projection=projection,
            output=output,
            seed=projection_seed,
        ),
    )
