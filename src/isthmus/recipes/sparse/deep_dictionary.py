"""Deep dictionary learning: a sparse code behind several layers of dictionaries."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import (
    Autoencoder,
    Code,
    Part,
    ReportProgress,
    Signal,
    Source,
    ThresholdCode,
)
from isthmus.networks.main_memory import check_room
from isthmus.objectives import MSE
from isthmus.recipes.options import Iterations, LatentDim, RowsInMemory
from isthmus.recipes.registry import recipe
from isthmus.training.model_rows import gathered

Activation = Literal["tanh", "identity"]
FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "identity": lambda x: x,
}
INNER = 5
"""Steps on the codes, and on each inner dictionary, in one iteration."""
SWEEPS = 2
"""Times that each atom of the first dictionary is fitted in one iteration."""
ENCODING = 200
"""Steps in which a row is encoded."""
_HALVINGS = 60
_INSIDE = 0.99
"""How far into the range of tanh the codes of a greedy layer may go."""


def rebuilt(z: Tensor, layers: Sequence[Tensor], activation: Activation) -> Tensor:
    """``f(f(z D_L) ... D_2) D_1``, ``(rows, d)``, of dictionaries ``(atoms, elements)``."""
    for number, weight in reversed(list(enumerate(layers))):
        z = z @ weight
        if number:
            z = FUNCTIONS[activation](z)
    return z


def deep_codes(
    x: Tensor,
    layers: Sequence[Tensor],
    penalty: float,
    activation: Activation = "identity",
    *,
    steps: int = ENCODING,
    start: Tensor | None = None,
) -> Tensor:
    """Codes ``z`` ``(rows, width)`` that lower ``|x - x^(z)|^2 + penalty |z|_1`` in every step.

    Each step majorises the error by a quadratic of one curvature, found for each row by itself, and
    minimises that with the price: a soft threshold. Between steps codes go on in the direction in
    which they went (FISTA), except where that would raise the objective, which then stays. It
    begins with ``start``, by default zero. In float64; no row depends on another.
    """
    rows = x.double()
    weights = [layer.detach().double() for layer in layers]
    width = len(weights[-1])
    z = rows.new_zeros(len(rows), width) if start is None else start.double().clone()
    curvature = rows.new_ones(len(rows), 1)
    momentum, ahead = rows.new_ones(len(rows), 1), z
    value = _errors(rows, z, weights, activation) + penalty * z.abs().sum(1)
    for _ in range(steps):
        error, slope = _slope(rows, ahead, weights, activation)
        for _ in range(_HALVINGS):
            moved = ahead - slope / curvature
            after = moved - moved.clamp(-penalty / curvature, penalty / curvature)
            step = after - ahead
            bound = error + (slope * step).sum(1) + 0.5 * (curvature * step.square()).sum(1)
            errors = _errors(rows, after, weights, activation)
            above = errors > bound + 1e-12 * (error + 1e-12)
            if not bool(above.any()):
                break
            curvature = torch.where(above[:, None], 2.0 * curvature, curvature)
        total = errors + penalty * after.abs().sum(1)
        worse = (total > value)[:, None]
        following = 0.5 * (1.0 + (1.0 + 4.0 * momentum.square()).sqrt())
        new = torch.where(worse, z, after)
        ahead = torch.where(worse, z, new + (momentum - 1.0) / following * (new - z))
        momentum = torch.where(worse, 1.0, following)
        value, z = torch.where(worse[:, 0], value, total), new
    return z


def _errors(x: Tensor, z: Tensor, layers: Sequence[Tensor], activation: Activation) -> Tensor:
    return (x - rebuilt(z, layers, activation)).square().sum(1)


def _slope(
    x: Tensor, z: Tensor, layers: Sequence[Tensor], activation: Activation
) -> tuple[Tensor, Tensor]:
    """The error of each row, and its gradient by the code."""
    with torch.enable_grad():
        free = z.detach().requires_grad_()
        errors = _errors(x, free, layers, activation)
        (slope,) = torch.autograd.grad(errors.sum(), free)
    return errors.detach(), slope


def in_ball(weight: Tensor) -> Tensor:
    """Atoms longer than 1 cut to that length."""
    return weight / weight.norm(dim=1, keepdim=True).clamp_min(1.0)


def fitted_atoms(x: Tensor, y: Tensor, weight: Tensor, sweeps: int = SWEEPS) -> Tensor:
    """The dictionary under ``x ~ y D``, each atom the best of length 1 at most beside the others.

    Atoms in turn, ``sweeps`` times (Mairal et al. 2009, algorithm 2): the error never rises. One
    that no row uses stays.
    """
    weight = weight.clone()
    gram, products = y.T @ y, y.T @ x
    for _ in range(sweeps):
        for atom in range(len(weight)):
            size = gram[atom, atom]
            if size > 1e-12:
                pull = products[atom] - gram[atom] @ weight
                weight[atom] = in_ball((weight[atom] + pull / size)[None])[0]
    return weight


class DeepSolver:
    """Fits all dictionaries together, or one after another, to rows in the model's units.

    ``course`` has the objective of all rows after each iteration of the last fit, joint ones alone.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        penalty: float,
        activation: Activation,
        *,
        greedy: bool,
        iterations: int,
        tolerance: float,
        rows: int,
    ) -> None:
        self.sizes, self.penalty, self.activation = tuple(sizes), penalty, activation
        self.greedy, self.iterations, self.tolerance = greedy, iterations, tolerance
        self.rows = rows
        self.course: list[float] = []

    @torch.no_grad()
    def fit(self, model: Autoencoder, source: Source, report: ReportProgress) -> dict[str, float]:
        """Set the dictionaries and the bias; figures are the objective a row, and iterations."""
        x = torch.from_numpy(gathered(model, source, "deep-dictionary", self.rows))
        decoder = model.part_as("decoder", DeepDictionary, "deep-dictionary")
        decoder.bias.copy_(x.mean(0))
        x = x - x.mean(0)
        ends = (x.shape[1], *self.sizes)
        weights = [
            F.normalize(torch.randn(atoms, elements, dtype=torch.float64), dim=1)
            for elements, atoms in pairwise(ends)
        ]
        fitter = self._one_by_one if self.greedy else self._together
        codes, done = fitter(x, weights, report)
        for held, weight in zip(decoder.weights, weights, strict=True):
            held.copy_(weight)
        objective = self._objective(x, codes, weights) / len(x)
        return {"objective": objective, "iterations": float(done), "rows": float(len(x))}

    def _objective(self, x: Tensor, z: Tensor, weights: Sequence[Tensor]) -> float:
        return float(_errors(x, z, weights, self.activation).sum() + self.penalty * z.abs().sum())

    def _together(
        self, x: Tensor, weights: list[Tensor], report: ReportProgress
    ) -> tuple[Tensor, int]:
        """Codes, then each dictionary, all by majorising the one objective."""
        z = x.new_zeros(len(x), len(weights[-1]))
        curvatures = [1.0] * len(weights)
        self.course = []
        for number in range(1, self.iterations + 1):
            z = deep_codes(x, weights, self.penalty, self.activation, steps=INNER, start=z)
            y = z
            for level in reversed(range(1, len(weights))):
                curvatures[level] = self._inner(x, z, weights, level, 0.5 * curvatures[level])
                y = FUNCTIONS[self.activation](y @ weights[level])
            weights[0] = fitted_atoms(x, y, weights[0])
            self.course.append(self._objective(x, z, weights))
            report(number, self.iterations, "iterations")
            if self._ended():
                break
        return z, number

    def _ended(self) -> bool:
        if len(self.course) < 2:
            return False
        before, now = self.course[-2:]
        return before - now < self.tolerance * before

    def _inner(
        self, x: Tensor, z: Tensor, weights: list[Tensor], level: int, curvature: float
    ) -> float:
        """Steps on an inner dictionary, each the least of a quadratic above the error."""
        for _ in range(INNER):
            with torch.enable_grad():
                free = weights[level].requires_grad_()
                error = _errors(x, z, weights, self.activation).sum()
                (slope,) = torch.autograd.grad(error, free)
            old = weights[level] = weights[level].detach()
            for _ in range(_HALVINGS):
                weights[level] = in_ball(old - slope / curvature)
                step = weights[level] - old
                bound = error + (slope * step).sum() + 0.5 * curvature * step.square().sum()
                after = _errors(x, z, weights, self.activation).sum()
                if after <= bound:
                    break
                curvature *= 2.0
            if after > error:
                weights[level] = old
        return curvature

    def _one_by_one(
        self, x: Tensor, weights: list[Tensor], report: ReportProgress
    ) -> tuple[Tensor, int]:
        """Each layer by itself: its codes are the rows of the next."""
        target, total = x, self.iterations * len(weights)
        for level in range(len(weights) - 1):
            for number in range(self.iterations):
                y = torch.linalg.lstsq(weights[level].T, target.T, driver="gelsd").solution.T
                if self.activation == "tanh":
                    y = y.clamp(-_INSIDE, _INSIDE)
                weights[level] = fitted_atoms(target, y, weights[level])
                report(level * self.iterations + number + 1, total, "iterations")
            target = y.atanh() if self.activation == "tanh" else y
        z = x.new_zeros(len(x), len(weights[-1]))
        for number in range(self.iterations):
            z = deep_codes(target, weights[-1:], self.penalty, steps=INNER, start=z)
            weights[-1] = fitted_atoms(target, z, weights[-1])
            report(total - self.iterations + number + 1, total, "iterations")
        return z, total


class DeepDictionary(Part):
    """``f(f(z D_L) ... D_2) D_1 + b`` for dictionaries ``weights``, D_1 first."""

    def __init__(
        self, sizes: Sequence[int], shape: tuple[int, ...], activation: Activation
    ) -> None:
        super().__init__()
        self.shape, self.activation = shape, activation
        ends = (torch.Size(shape).numel(), *sizes)
        for elements, atoms in pairwise(ends):
            check_room(atoms, elements)
        self.weights = nn.ParameterList(
            F.normalize(torch.randn(atoms, elements), dim=1) for elements, atoms in pairwise(ends)
        )
        self.bias = nn.Parameter(torch.zeros(ends[0]))

    def forward(self, z: Tensor) -> Tensor:
        flat = rebuilt(z, list(self.weights), self.activation) + self.bias
        return flat.unflatten(1, self.shape)


class DeepCode(Part):
    """The code of each row that rebuilds it best under the price (:func:`deep_codes`)."""

    def __init__(self, penalty: float, steps: int) -> None:
        super().__init__()
        self.penalty, self.steps = penalty, steps

    @torch.no_grad()
    def forward(self, h: Tensor, *, model: Autoencoder, sample: bool = False) -> Code:
        decoder = model.part_as("decoder", DeepDictionary, self)
        rows = h.double() - decoder.bias.double()
        layers = list(decoder.weights)
        codes = deep_codes(rows, layers, self.penalty, decoder.activation, steps=self.steps)
        return ThresholdCode(codes.to(h.dtype))


@recipe(
    "deep-dictionary",
    family="sparse",
    catalogue=113,
    paper="Singhal, Majumdar, Majorization minimization technique for optimally solving deep "
    "dictionary learning, 2019, arXiv:1912.10801, doi:10.1007/s11063-017-9603-9",
    formula="min over D_1..D_L, z of |x - m - f(f(z D_L) ... D_2) D_1|^2 + lambda |z|_1,  "
    "|d| <= 1 for each atom d",
    claim="Solving for all layers of dictionaries together beats learning one after another, each "
    "from the codes of the one before.",
    scaling="global",
    solved=True,
)
def deep_dictionary(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    hidden: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...],
        Field(description="atoms of the dictionaries before the last, from the data on"),
    ] = (128, 64),
    activation: Annotated[Activation, Field(description="f, between two dictionaries")] = "tanh",
    sparsity: Annotated[float, Field(gt=0, description="lambda: price of |z|_1")] = 2.4,
    greedy: Annotated[
        bool, Field(description="one layer after another, each from the codes of the one before")
    ] = False,
    iterations: Iterations = 200,
    tolerance: Annotated[
        float,
        Field(ge=0, description="share of the objective that an iteration has to gain to go on"),
    ] = 1e-5,
    encoding_steps: Annotated[
        int, Field(gt=0, description="steps in which a row is encoded")
    ] = ENCODING,
    rows: RowsInMemory = 16_384,
) -> Autoencoder:
    """Sparse coding through several dictionaries, the codes of one being the rows of the next.

    Only the last code is sparse. All dictionaries and the codes of all rows minimise one objective,
    in turn: each block is replaced by the least of a majoriser, a quadratic that lies above the
    objective and touches it where it is, so that no iteration raises it. Codes get a soft
    threshold, inner dictionaries a step, and the first dictionary, in which the error is a plain
    least-squares one, atom by atom its best. With ``hidden=()`` that is sparse coding with a lasso.
    ``greedy`` learns as deep dictionaries were learnt before: a layer by least squares, without a
    price, then the next from its codes, through the inverse of f, and the last one sparse.

    A row is encoded by the same steps on its code alone, which cost many products with all
    dictionaries; codes of greedy dictionaries are solved for all layers together, too. All of it
    is dense, in float64, and training options other than ``seed`` have no effect.

    The paper peels off a layer after another, by a step of Landweber's and the inverse of f, which
    lies above the objective for linear f only; here the quadratic is one of the whole objective,
    whose curvature is found for each row by trying, and holds for any f. Its dictionaries are
    normalised after a fit, which raises the price of the codes; here no atom is longer than 1, and
    the fit knows of that. Neither its lambda nor its f are known here: lambda is twice the alpha of
    ``sparse-coding``, whose error has a factor of one half, and atoms are halved from layer to
    layer.
    """
    sizes = (*hidden, latent_dim)
    return Autoencoder(
        signal,
        encoder=nn.Flatten(1),
        bottleneck=DeepCode(sparsity, encoding_steps),
        decoder=DeepDictionary(sizes, signal.shape, activation),
        objective=MSE(),
        solver=DeepSolver(
            sizes, sparsity, activation, greedy=greedy, iterations=iterations,
            tolerance=tolerance, rows=rows,
        ),
    )  # fmt: skip
