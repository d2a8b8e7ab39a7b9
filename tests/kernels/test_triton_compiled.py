"""Every program compiles for three architectures within their limits, without a device."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("ISTHMUS_TEST_TRITON") != "compile", reason="run by make test-triton"
    ),
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton cannot be installed here"),
]
PROGRAMS = {
    "group_maxima", "maxima_of_maxima", "pick_groups", "pick_groups_within", "pick_latents",
    "pick_from_row", "pick_many", "count_above", "write_above", "decode", "decode_error",
    "at_places", "sum_segments", "row_gradient", "row_adam", "sum_entries",
}  # fmt: skip
STREAMING = {
    "group_maxima", "pick_from_row", "pick_many", "count_above", "write_above", "decode",
    "decode_error", "at_places", "sum_segments", "row_gradient", "row_adam",
}  # fmt: skip
"""What reads whole rows: 16 bytes at a time."""
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
"""Bytes of shared memory that a program may have."""


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_registers_stack_shared_memory_and_loads(architecture, tmp_path):
    script = Path(__file__).with_name("compile_triton.py")
    found = subprocess.run(
        [sys.executable, str(script), str(architecture)], capture_output=True, text=True,
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    figures = json.loads(found.stdout)
    assert set(figures) == PROGRAMS
    for name, one in figures.items():
        assert one["stack"] == 0, f"{name} spills"
        assert one["reg"] <= 128, f"{name}: {one['reg']} registers"
        assert one["shared"] <= SHARED[architecture], name
    narrow = {name for name in STREAMING if not figures[name]["wide"]}
    assert not narrow, f"these load few bytes at once: {narrow}"
