"""Runs what docs/tools.md shows, block by block, where the tools of a block are installed.

``python -m tools.tools_page``: in the current folder; prints the modules of others that were used.
"""

import re
import shutil
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tools.md"
FIXTURES = ROOT / "tests" / "formats" / "fixtures"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
HOOK = "blocks.1.hook_resid_post"


def installed(name: str) -> bool:
    """Whether a tool can be imported: of nnsight one of the interface that the page shows."""
    if find_spec(name) is None:
        return False
    return name != "nnsight" or int(version(name).split(".")[1]) >= 5


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
        "tokens": torch.randint(0, 50, (32, 12), generator=draw),
        "activations": 2.0 * torch.randn(32, 12, 8, generator=draw),
        "hook_name": HOOK,
    }
    if find_spec("transformer_lens") is not None:
        values["hooked"] = small_lens()
    if installed("nnsight"):
        from nnsight import NNsight
        from transformers import LlamaConfig, LlamaForCausalLM

        sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 4}
        heads = {"num_attention_heads": 2, "vocab_size": 50}
        values["network"] = NNsight(LlamaForCausalLM(LlamaConfig(**sizes, **heads)))
    return values


def small_lens() -> Any:
    """A small model of TransformerLens at random, with a tokenizer of as many words."""
    from tokenizers import Tokenizer, models
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformers import PreTrainedTokenizerFast

    config = HookedTransformerConfig(
        n_layers=2, d_model=8, n_ctx=12, d_head=4, n_heads=2, d_mlp=16, d_vocab=50,
        act_fn="gelu", device="cpu", seed=0,
    )  # fmt: skip
    words = models.WordLevel({f"w{number}": number for number in range(50)}, unk_token="w0")
    made = HookedTransformer(config)
    made.tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words))
    return made


def run() -> tuple[dict[str, object], set[str]]:
    """Run the page; what it defined, and the modules of others that its blocks imported."""
    values, used = given(), set()
    for number, code in enumerate(BLOCK.findall(PAGE.read_text("utf-8"))):
        others = {*IMPORTED.findall(code)} - {"isthmus"}
        if all(map(installed, others)):
            file = Path(f"block_{number}.py").resolve()  # nnsight reads the source of its caller
            file.write_text(code)
            exec(compile(code, str(file), "exec"), values)
            used |= others
    return values, used


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src")]
    print(*sorted(run()[1]))
