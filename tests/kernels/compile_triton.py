"""Compile every program of ``isthmus.kernels.triton`` for one architecture, without a device.

    python tests/kernels/compile_triton.py 90

Prints a JSON object: by program, registers, stack, shared memory and whether it loads 16 bytes at
once.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from isthmus.kernels.triton import decoding_programs, selection_programs, update_programs
from isthmus.kernels.triton_backend import GROUP, MOST_GROUPS, MOST_LISTED, SEGMENT, TILE, _warps

D, WIDE = 2304, 4096
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
POINTERS = {
    "u": "*bf16", "atoms": "*bf16", "dense": "*bf16", "half": "*bf16", "left": "*fp32",
    "indices": "*i64", "offsets": "*i64", "starts": "*i64", "maxima": "*i32", "above": "*i32",
    "picked": "*i32", "parents": "*i32", "counts": "*i32", "rows": "*i32", "latents": "*i32",
}  # fmt: skip
"""What is no pointer to float32."""
NUMBERS = ("width", "groups", "supers", "tiles", "k", "entries")
FLOATS = ("step", "keep1", "beta2", "keep2", "eps", "root", "decay")
KEYS = {"magnitude": False, "weighted": True}
FEW = {"group": GROUP, "k": 64, "block": 64}
ROWS = {"d": D, "segment": SEGMENT, "block": 1024}
ADAM = {"unit": True, "sparse": True, "whole": True, "halved": True, "segment": SEGMENT}

PROGRAMS = {
    "group_maxima": (selection_programs, {"tile": TILE, "group": GROUP, **KEYS}, 4),
    "maxima_of_maxima": (selection_programs, {"tile": TILE, "group": GROUP}, 4),
    "pick_groups": (selection_programs, {"block": MOST_GROUPS, "k": 64}, _warps(MOST_GROUPS)),
    "pick_groups_within": (selection_programs, FEW, _warps(64 * GROUP)),
    "pick_latents": (selection_programs, {**FEW, **KEYS}, _warps(64 * GROUP)),
    "pick_from_row": (selection_programs, {"k": 64, "block": MOST_LISTED, **KEYS},
                      _warps(MOST_LISTED)),
    "pick_many": (selection_programs, {"tile": TILE, **KEYS}, 16),
    "count_above": (selection_programs, {"tile": TILE}, 4),
    "write_above": (selection_programs, {"tile": TILE}, 4),
    "decode": (decoding_programs, {"d": D, "block": 1024}, _warps(1024)),
    "decode_error": (decoding_programs, {"d": D, "block": WIDE}, _warps(WIDE)),
    "at_places": (decoding_programs, {"d": D, "block": 1024}, _warps(1024)),
    "sum_segments": (update_programs, ROWS, _warps(1024)),
    "row_gradient": (update_programs, ROWS, _warps(1024)),
    "row_adam": (update_programs, {"d": D, "block": WIDE, **ADAM}, _warps(WIDE)),
    "sum_entries": (update_programs, {"block": SEGMENT}, 1),
}  # fmt: skip
"""By program: its module, its constants at a width of 65,536 of rows of 2304, its warps."""


def kind(name: str) -> str:
    """The type of an argument, by its name."""
    if name in NUMBERS:
        return "i32"
    return "fp32" if name in FLOATS else POINTERS.get(name, "*fp32")


def figures(name: str, architecture: int) -> dict[str, int | bool]:
    """What one program takes on one architecture."""
    module, constants, warps = PROGRAMS[name]
    program = getattr(module, name)
    signature, attributes, values = {}, {}, {}
    for place, argument in enumerate(program.arg_names):
        if argument in constants:
            signature[argument] = "constexpr"
            values[(place,)] = constants[argument]
        else:
            signature[argument] = kind(argument)
            if signature[argument].startswith("*") or argument == "width":
                attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(program, signature, values, attributes)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps}
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as binary:
        binary.write(compiled.asm["cubin"])
        binary.flush()
        usage = subprocess.run(
            [TOOL, "--dump-resource-usage", binary.name], capture_output=True, text=True, check=True
        ).stdout
    found = {
        what.lower(): int(number) for what, number in re.findall(r"\b(REG|STACK):(\d+)", usage)
    }
    wide = bool(
        re.search(r"ld\.global[\w.:]*\.v(4\.b32|2\.b64|4\.f32|8\.b16)", compiled.asm["ptx"])
    )
    return {**found, "shared": compiled.metadata.shared, "wide": wide}


def main() -> None:
    architecture = int(sys.argv[1])
    names = sys.argv[2:] or list(PROGRAMS)
    print(json.dumps({name: figures(name, architecture) for name in names}))


if __name__ == "__main__":
    main()
