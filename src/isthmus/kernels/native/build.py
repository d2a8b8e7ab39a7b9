"""Compile the native kernels into one shared library: when the package is installed, or later.

Needs a C compiler (``CC``, else cc, gcc or clang) and nothing else; no import of isthmus or torch,
so that a build in an isolated environment can use it.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = HERE / ("isthmus.dylib" if sys.platform == "darwin" else "isthmus.so")
ONCE = ("dispatch", "parallel")
BY_LEVEL = ("rows", "products")
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
_WIDE = "-mprefer-vector-width=512"
LEVELS = {"portable": [], "avx2": ["-mavx2", "-mfma"], "avx512": [*_AVX512, _WIDE]}
_TILES = ["-mamx-tile", "-mamx-int8"]
COMMON = ["-std=gnu11", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wno-psabi"]


class BuildError(RuntimeError):
    """Why there is no library, in one sentence."""


def compiler() -> str:
    """The C compiler to use."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise BuildError("there is no C compiler: install gcc or clang")


def build(target: Path = LIBRARY, *, flags: Sequence[str] = ("-O3",)) -> Path:
    """Compile to ``target``, which appears whole or not at all; ``flags`` are added to each call.

    Raises :class:`BuildError`.
    """
    if sys.platform == "win32":
        raise BuildError("the native kernels are not built on Windows")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    cc = compiler()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)
        jobs: list[tuple[str, str, list[str]]] = [(name, name, []) for name in ONCE]
        for level, options in LEVELS.items():
            if x86 or level == "portable":
                level_options = [*options, f"-DISTHMUS_LEVEL={level}"]
                jobs += [(name, f"{name}-{level}", level_options) for name in BY_LEVEL]
        common = [*COMMON, *flags, *(["-DISTHMUS_X86"] if x86 else [])]
        if x86:
            tiles = _TILES if _takes(cc, _TILES) else []
            common += ["-DISTHMUS_TILES"] if tiles else []
            wide = [*LEVELS["avx512"], "-mavx512vnni", *tiles]
            jobs += [(name, name, wide) for name in ("int8", "int8_pack")]
        objects = []
        for source, name, options in jobs:
            compiled = folder / f"{name}.o"
            _run([cc, *common, *options, "-c", str(HERE / f"{source}.c"), "-o", str(compiled)])
            objects.append(str(compiled))
        linked = folder / target.name
        _run([cc, "-shared", *flags, *objects, "-o", str(linked), "-lm", "-lpthread", "-ldl"])
        os.replace(linked, target)
    return target


def _takes(cc: str, options: list[str]) -> bool:
    """Whether the compiler knows these options."""
    probe = [cc, *options, "-E", "-x", "c", os.devnull]
    return subprocess.run(probe, capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [""]
        raise BuildError(f"{command[0]} failed: {lines[0].strip() or 'see its output'}")
