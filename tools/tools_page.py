"""Runs what docs/tools.md shows, block by block, where the tools of a block are installed.

``python -m tools.tools_page``: in the current folder; prints the modules of others that were used.
"""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tools.md"
FIXTURES = ROOT / "tests" / "formats" / "fixtures"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
HOOK = "blocks.1.hook_resid_post"


def given() -> dict[str, object]:
    """What the page takes for granted: a dictionary, transcoders, a text and its activations."""
    import torch

    for name, case in (
        ("my-dictionary", "saelens/jumprelu"),
        ("my-transcoders", "layers/circuit-tracer"),
    ):
        if not Path(name).exists():
            shutil.copytree(FIXTURES / case, name)
            (Path(name) / "recorded.safetensors").unlink()
    draw = torch.Generator().manual_seed(0)
    values: dict[str, object] = {
        "tokens": torch.randint(0, 50, (4, 12), generator=draw),
        "activations": 2.0 * torch.randn(4, 12, 8, generator=draw),
        "hook_name": HOOK,
    }
    if find_spec("transformer_lens") is not None:
        from transformer_lens import HookedTransformer, HookedTransformerConfig

        config = HookedTransformerConfig(
            n_layers=2, d_model=8, n_ctx=12, d_head=4, n_heads=2, d_mlp=16, d_vocab=50,
            act_fn="gelu", device="cpu", seed=0,
        )  # fmt: skip
        values["hooked"] = HookedTransformer(config)
    return values


def run() -> tuple[dict[str, object], set[str]]:
    """Run the page; what it defined, and the modules of others that its blocks imported."""
    values, used = given(), set()
    for code in BLOCK.findall(PAGE.read_text("utf-8")):
        others = {*IMPORTED.findall(code)} - {"isthmus"}
        if all(find_spec(name) is not None for name in others):
            exec(compile(code, str(PAGE), "exec"), values)
            used |= others
    return values, used


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src")]
    print(*sorted(run()[1]))
