"""A dictionary whose atoms are mixtures of rows of the data."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import LinearDecoder
from isthmus.errors import IsthmusError
from isthmus.networks.dictionary import Dictionary


class ArchetypalDictionary(Dictionary):
    """Atoms ``exp(s) (M C + R)`` of candidates C ``(candidates, d)``, which are rows less a centre.

    The rows of the mixing M ``(width, candidates)`` are not negative and add up to 1, those of the
    relaxation R ``(width, d)`` are no longer than ``relaxation`` (0: there is none), and s is one
    number for all: convex combinations of rows, or nearly so (Fel et al. 2025, arXiv:2502.12892,
    equations 4 and 5). M and R are brought back to where they must lie after each update: what is
    negative of M becomes zero, its rows are divided by their sums, and rows of R that are too long
    are shortened. Until :meth:`choose` has been called the candidates are zero.

    The atoms are a product of M and C, computed at every use, so that gradients reach M as a whole;
    codes are decoded sparsely all the same. In evaluation without gradients they are computed once.
    """

    candidates: Tensor

    def __init__(
        self, width: int, shape: tuple[int, ...], candidates: int, relaxation: float
    ) -> None:
        nn.Module.__init__(self)
        self.shape, self.unit, self.relaxation = shape, False, relaxation
        elements = torch.Size(shape).numel()
        self.register_buffer("candidates", torch.zeros(candidates, elements))
        self.mixing = nn.Parameter(torch.full((width, candidates), 1.0 / candidates))
        self.rest = nn.Parameter(torch.zeros(width, elements)) if relaxation > 0.0 else None
        self.size = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(elements))
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    @torch.no_grad()
    def choose(self, rows: Tensor, centre: Tensor) -> None:
        """Draw the candidates from ``rows`` ``(n, d)``, and start each atom at one of them.

        Where there are more atoms than candidates, later ones start half way between two. Fewer
        rows than candidates are an :class:`IsthmusError`.
        """
        width, count = self.mixing.shape
        if len(rows) < count:
            raise IsthmusError(
                f"{count} candidates cannot be drawn from the {len(rows)} rows that are looked at "
                "before training: set candidates to fewer"
            )
        drawn = torch.randperm(len(rows))[:count].to(rows.device)
        self.candidates.copy_(rows[drawn] - centre)
        start = F.one_hot(torch.arange(width) % count, count).to(self.mixing)
        later = torch.arange(width) >= count
        other = F.one_hot(torch.randint(count, (width,)), count).to(self.mixing)
        start[later] = 0.5 * (start[later] + other[later])
        self.mixing.copy_(start)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The atoms, ``(width, d)``."""
        if self.training or torch.is_grad_enabled():
            return self._computed()
        tensors = [t for t in (self.mixing, self.candidates, self.rest, self.size) if t is not None]
        state = tuple((t.data_ptr(), t._version, t.dtype, t.device) for t in tensors)
        if self._kept is None or self._kept[0] != state:
            self._kept = (state, self._computed())
        return self._kept[1]

    def _computed(self) -> Tensor:
        atoms = self.mixing @ self.candidates
        return (atoms if self.rest is None else atoms + self.rest) * self.size.exp()

    def row_weights(self) -> list[tuple[nn.Parameter, bool]]:
        """None: an atom's gradient goes on to the whole mixing."""
        return []

    def before_update(self) -> None:
        """Nothing: no row has a norm that is kept."""

    def after_update(self) -> None:
        self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring mixing and relaxation back to where they must lie."""
        self.mixing.clamp_min_(0.0)
        sums = self.mixing.sum(1, keepdim=True)
        # A row of which nothing is left is a mixture of all.
        self.mixing.copy_(torch.where(sums > 0.0, self.mixing / sums, 1.0 / self.mixing.shape[1]))
        if self.rest is not None:
            lengths = self.rest.norm(dim=1, keepdim=True).clamp_min(1e-30)
            self.rest.mul_((self.relaxation / lengths).clamp_max(1.0))

    def times(self, factors: Tensor) -> None:
        """Refused: atoms of other lengths would be no mixtures."""
        LinearDecoder.times(self, factors)

    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Refused, as :meth:`times`."""
        LinearDecoder.rescale(self, scale, offset)
