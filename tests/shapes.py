"""Which annotations are checked while the tests run, and by what."""

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

ROOT = Path(find_spec("isthmus").origin).parent
PACKAGES = (
    # Not kernels.triton: its programs are compiled from their source, which a wrapper would hide.
    *(
        f"isthmus.kernels.{path.stem}"
        for path in sorted((ROOT / "kernels").glob("*.py"))
        if path.stem != "__init__"
    ),
    "isthmus.kernels.native",
    "isthmus.networks",
    "isthmus.bottlenecks",
    "isthmus.objectives",
)
"""Parts of models: every annotation is checked, with shapes or without."""

STATING = [
    ".".join(("isthmus", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if "from isthmus.shapes import" in path.read_text()
]
"""Every file that states shapes, wherever it is."""

ELSEWHERE = [name for name in STATING if not name.startswith(PACKAGES)]
"""There only the shapes are checked: what of other arguments is wrong is answered by the library,
and tests pass it wrong ones to see how."""


def install():
    """Check from here on. Nothing of the package may be imported before."""
    install_import_hook(PACKAGES, "beartype.beartype")
    install_import_hook(ELSEWHERE, "shapes.of_shapes")


def of_shapes(stand_in):
    """Check annotations that state shapes, of the function that jaxtyping made for checking."""
    hints = stand_in.__annotations__.items()
    stand_in.__annotations__ = {name: hint for name, hint in hints if states_shape(hint)}
    return beartype(stand_in)


def states_shape(hint):
    """Whether a hint is a shape or has one inside, as ``Float[Tensor, " rows"] | None`` has."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(states_shape(part) for part in get_args(hint))
