"""What all tests share: one thread, shapes checked at every annotated call, fixed hypotheses."""

import os
import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings

import shapes
from dearest import Dearest

shapes.install()
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
# What whoever runs the tests has fetched is no part of them.
os.environ["ISTHMUS_CACHE"] = str(Path(tempfile.gettempdir()) / "isthmus-tests-without-a-cache")
SHARED = Path(__file__).parents[2] / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("ISTHMUS_DATA", str(SHARED))


def pytest_configure(config):
    config.pluginmanager.register(Dearest(), "dearest")
