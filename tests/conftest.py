"""What all tests share: one thread, shapes checked at every annotated call, fixed hypotheses."""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

from dearest import Dearest

ROOT = Path(find_spec("isthmus").origin).parent
PACKAGES = ["isthmus.kernels", "isthmus.networks", "isthmus.bottlenecks", "isthmus.objectives"]
"""Parts of models: every annotation is checked, with shapes or without."""

ANNOTATED = [
    ".".join(("isthmus", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if "from isthmus._shapes import" in path.read_text()
]
"""Every file that states shapes, wherever it is."""

# Before anything of the package is imported, or its functions would stay unchecked.
_hook = install_import_hook([*PACKAGES, *ANNOTATED], "beartype.beartype")
_hook.__enter__()

torch.set_num_threads(1)
settings.register_profile(
    "isthmus",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("isthmus")

os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED = Path(__file__).parents[2] / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("ISTHMUS_DATA", str(SHARED))


def pytest_configure(config):
    config.pluginmanager.register(Dearest(), "dearest")
