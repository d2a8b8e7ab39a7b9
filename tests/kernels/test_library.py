"""Building, loading and refusing the compiled library, and its plain functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import library
from isthmus.kernels.native import build as build_module

from .cases import NATIVE, close, engine

needs_native = pytest.mark.skipif(not NATIVE, reason="no native library")


def test_a_missing_file_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "isthmus.so")
    assert library._loaded.__wrapped__() == (
        None,
        "isthmus.so was not built when isthmus was installed",
    )


def test_a_file_that_is_no_library_says_so(monkeypatch, tmp_path):
    (tmp_path / "isthmus.so").write_text("not a library")
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "isthmus.so")
    found, why = library._loaded.__wrapped__()
    assert found is None
    assert why.startswith("isthmus.so cannot be loaded: ")


@needs_native
def test_a_library_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(library, "ABI", -1)
    found, why = library._loaded.__wrapped__()
    assert found is None
    assert "another version" in why


@needs_native
def test_levels():
    native = library.native()
    before, best = native.level, native.best_level()
    try:
        assert [native.set_level(n) for n in (0, best, best + 7, -1)] == [0, best, best, best]
    finally:
        native.set_level(before)
    assert library.explain() in library.LEVELS
    with pytest.raises(AttributeError):
        native.no_such_function  # noqa: B018


@pytest.mark.parametrize("tensor", [torch.zeros(4, 4).T[:2], torch.zeros(3, device="meta")])
def test_only_contiguous_tensors_in_main_memory_have_a_pointer(tensor):
    with pytest.raises(TypeError, match="contiguous tensors in main memory"):
        library.pointer(tensor)
    assert library.pointer(None) is None


def test_no_compiler_is_one_sentence(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(build_module.shutil, "which", lambda name: None)
    with pytest.raises(build_module.BuildError, match="no C compiler: install"):
        build_module.compiler()


def test_a_build_that_fails_leaves_nothing(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'x.c:1: error: no' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(build_module.BuildError, match=r"failed: x\.c:1: error: no"):
        build_module.build(tmp_path / "isthmus.so")
    assert [p.name for p in tmp_path.iterdir()] == ["cc"]


@pytest.mark.parametrize("name", NATIVE)
@settings(max_examples=15)
@given(st.integers(1, 90), st.integers(1, 70), st.integers(1, 150), st.integers(0, 10_000))
def test_decode_its_error_and_places(name, rows, k, d, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, k, generator=g)
    values[torch.rand(rows, k, generator=g) < 0.3] = 0.0
    atoms, bias = torch.randn(40, d, generator=g), torch.randn(d, generator=g)
    target = torch.randn(rows, d, generator=g)
    indices = torch.randint(0, 40, (rows, k), generator=g)
    native, gathered = library.native(), atoms.double()[indices]
    out, error, squares = torch.empty(rows, d), torch.empty(rows, d), torch.empty(rows)
    places, products = torch.empty(rows, k), torch.empty(rows, k)
    code = [t.data_ptr() for t in (values, indices, atoms)]
    with engine(name):
        native.decode(*code, rows, k, d, out.data_ptr(), 1)
        native.decode_error(
            *code, bias.data_ptr(), target.data_ptr(), rows, k, d, error.data_ptr(),
            squares.data_ptr(), products.data_ptr(), 1,
        )  # fmt: skip
        native.at_places(
            target.data_ptr(), indices.data_ptr(), atoms.data_ptr(), rows, k, d,
            places.data_ptr(), 1,
        )  # fmt: skip
    decoded = (values.double()[:, :, None] * gathered).sum(1)
    off = decoded + bias.double() - target.double()
    close(out, decoded, 1e-5)
    close(error, off, 1e-5)
    close(squares, (off**2).sum(1), 1e-5)
    close(products, (gathered * off[:, None]).sum(2), 1e-5)
    close(places, (gathered * target.double()[:, None]).sum(2), 1e-5)


@needs_native
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 40), st.integers(0, 10_000))
def test_entries_by_latent_are_in_a_stable_order_without_zeros(rows, k, width, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.randint(-1, 2, (rows, k), generator=g).float()
    indices = torch.randint(0, width, (rows, k), generator=g)
    order = torch.full((rows * k,), -1)
    offsets = torch.empty(width + 1, dtype=torch.int64)
    library.native().by_latent(
        values.data_ptr(), indices.data_ptr(), rows, k, width, order.data_ptr(), offsets.data_ptr()
    )
    flat, used = indices.flatten().tolist(), (values.flatten() != 0).tolist()
    wanted = sorted((e for e in range(rows * k) if used[e]), key=lambda e: flat[e])
    assert order[: len(wanted)].tolist() == wanted
    counts = [sum(flat[e] == i for e in wanted) for i in range(width)]
    assert offsets.tolist() == [0, *torch.tensor(counts).cumsum(0).tolist()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="preloads the sanitizer of gcc")
def test_sanitizers_find_nothing(tmp_path):
    """Address and undefined behaviour, at every instruction level this machine has."""
    asan = subprocess.run(
        [build_module.compiler(), "-print-file-name=libasan.so"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not Path(asan).is_absolute():
        pytest.skip("no libasan")
    built = build_module.build(
        tmp_path / "isthmus.so",
        flags=("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sanitize.py")), str(built)],
        env={**os.environ, "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1].startswith("every function, levels 0")
