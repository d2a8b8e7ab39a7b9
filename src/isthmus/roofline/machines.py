"""What accelerators can do, as far as a step of a sparse dictionary asks."""

from dataclasses import dataclass

from isthmus.errors import unknown


@dataclass(frozen=True)
class Machine:
    """One accelerator and what joins it to others.

    ``product`` is what matrix products in bfloat16 reach, in FLOP/s; ``memory_rate`` what a copy
    moves through memory, in bytes/s; ``cache_rate`` what gathers move from a cache of
    ``cache_bytes``. ``memory_bytes`` is how much there is. Collectives move ``node_rate`` bytes/s
    within a node of ``node`` accelerators, and ``network_rate`` where more nodes take part.
    ``source`` says where the numbers are from.
    """

    name: str
    product: float
    memory_rate: float
    cache_rate: float
    cache_bytes: float
    memory_bytes: float
    node: int = 8
    node_rate: float = 400e9
    network_rate: float = 50e9
    source: str = ""


MACHINES = {
    "h200": Machine(
        "H200", 700e12, 4.3e12, 6e12, 45e6, 141e9,
        source="product 788 TFLOP/s measured for 8192 cubed, 700 taken; copy measured",
    ),
    "h100": Machine(
        "H100", 620e12, 2.9e12, 6e12, 45e6, 80e9, source="scaled from the H200 by data sheets",
    ),
    "a100": Machine(
        "A100", 250e12, 1.7e12, 4e12, 35e6, 80e9, node_rate=250e9, network_rate=25e9,
        source="80 % of the data sheet's product, 85 % of its memory",
    ),
}  # fmt: skip
"""By the names of ``--device``. Between nodes 400 Gbit/s an accelerator (A100: 200)."""


def machine(name: str) -> Machine:
    """The accelerator of that name; an :class:`IsthmusError` for one that is not known."""
    try:
        return MACHINES[name.strip().lower()]
    except KeyError:
        raise unknown("device of a plan", name, [*MACHINES, "here"]) from None
