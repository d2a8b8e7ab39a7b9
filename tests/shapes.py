"""The checker of annotations, and the files where it checks them."""

from importlib.util import find_spec
from pathlib import Path

from beartype import BeartypeConf, beartype

ROOT = Path(find_spec("isthmus").origin).parent
PACKAGES = ["isthmus.kernels", "isthmus.networks", "isthmus.bottlenecks", "isthmus.objectives"]
"""Parts of models: every annotation is checked, with shapes or without."""

ANNOTATED = [
    ".".join(("isthmus", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if "from isthmus._shapes import" in path.read_text()
]
"""Every file that states shapes, wherever it is."""

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""The checker. Where a float is asked for an integer will do, as for every type checker."""
