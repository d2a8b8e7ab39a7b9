"""One step of a TopK dictionary, by what moves and what is computed, sharded over ranks by latent.

Bytes and operations of the steps are counted as the kernels do them: the product in bfloat16, kept
and read once to select; atoms in two bytes; gradients by latent, fused with Adam, whose 26 bytes a
parameter are weight and two moments in float32, read and written, and a bfloat16 copy written.
"""

from dataclasses import dataclass

from isthmus.roofline.machines import Machine

ADAM_BYTES = 26
"""Moved by Adam for one parameter: 3 numbers of 4 bytes read and written, 2 bytes of the copy."""
KEPT_BYTES = 16
"""Held for one parameter: weight, two moments and the running average, in float32."""
COPY_BYTES = 2
"""Held beside that: the weight in bfloat16."""
PRODUCT_PIECE = 1e9
"""Bytes of the product that are there at once."""


@dataclass(frozen=True)
class Shape:
    """A dictionary and its batch: elements of a row ``d``, latents ``width``, active ones ``k`` a
    row, rows of a step ``batch`` over all ranks."""

    d: int
    width: int
    k: int
    batch: int

    @property
    def parameters(self) -> int:
        """Weights of encoder and decoder, and biases."""
        return 2 * self.d * self.width + self.width + self.d


@dataclass(frozen=True)
class Step:
    """Seconds of one step by part."""

    product: float
    selection: float
    decoding: float
    gradients: float
    rows: float = 0.0
    exchange: float = 0.0
    reconstruction: float = 0.0

    @property
    def parts(self) -> dict[str, tuple[float, str]]:
        """Seconds of each part, and what bounds it."""
        return {
            "product": (self.product, "arithmetic"),
            "selection": (self.selection, "memory"),
            "decoding": (self.decoding, "memory"),
            "gradients, Adam": (self.gradients, "memory"),
            "rows to all ranks": (self.rows, "network"),
            "exchange of the top k": (self.exchange, "network"),
            "sum of reconstructions": (self.reconstruction, "network"),
        }

    @property
    def seconds(self) -> float:
        """All of it, one after the other: nothing is hidden behind anything else."""
        return sum(seconds for seconds, _ in self.parts.values())


def step(shape: Shape, device: Machine, ranks: int = 1, sum_bytes: int = 4) -> Step:
    """Seconds of one step on so many ranks, each of which holds its share of the latents.

    The reconstruction is summed in ``sum_bytes`` bytes a number (4, or 2 for bfloat16).
    """
    rows, d, k = shape.batch, shape.d, shape.k
    width = shape.width / ranks
    gathers = device.cache_rate if 2 * rows * d < device.cache_bytes else device.memory_rate
    rate = device.memory_rate
    over = network(shape, ranks, sum_bytes)
    speed = device.node_rate if ranks <= device.node else min(device.node_rate, device.network_rate)
    return Step(
        product=2 * rows * d * width / device.product,
        selection=4 * rows * width / rate,
        decoding=2 * rows * k * d / ranks / rate,
        gradients=4 * rows * k * d / ranks / gathers + 2 * width * d * ADAM_BYTES / rate,
        rows=over[0] / speed,
        exchange=over[1] / speed,
        reconstruction=over[2] / speed,
    )


def network(shape: Shape, ranks: int, sum_bytes: int = 4) -> tuple[float, float, float]:
    """Bytes that a rank sends in one step: rows in bfloat16 to all, the k largest values with
    their latents from each to all, and the sum of reconstructions."""
    others = (ranks - 1) / ranks
    rows = shape.batch * shape.d
    return (
        2 * rows * others,
        8.0 * shape.batch * shape.k * (ranks - 1),
        2 * sum_bytes * rows * others,
    )


def data_parallel(shape: Shape, device: Machine, ranks: int) -> tuple[float, float]:
    """What copies of the whole dictionary would take instead: seconds to sum dense gradients in
    float32, and to update all weights on every rank."""
    weights = 2 * shape.d * shape.width
    speed = device.node_rate if ranks <= device.node else min(device.node_rate, device.network_rate)
    sums = 4 * weights * 2 * (ranks - 1) / ranks / speed
    return sums, weights * ADAM_BYTES / device.memory_rate


def memory(shape: Shape, ranks: int = 1) -> dict[str, float]:
    """Bytes that a rank holds, by what for."""
    mine = shape.parameters / ranks
    rows = shape.batch * shape.d
    return {
        "weights, moments, average": mine * KEPT_BYTES,
        "copies in bfloat16": mine * COPY_BYTES,
        "rows, reconstruction, error": rows * (2 + 4 + 4),
        "product": min(PRODUCT_PIECE, 2.0 * shape.batch * shape.width / ranks),
        "codes": 8.0 * shape.batch * shape.k * max(1, ranks > 1 and ranks),
    }
