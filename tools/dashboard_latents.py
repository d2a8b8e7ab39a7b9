"""What SAEDashboard shows of dictionaries that were written for SAELens, held against this library.

``python -m tools.dashboard_latents`` where sae-dashboard is installed: for each dictionary prints
the latents that it was built for, and ends with an error at the first whose largest activation or
density differs, or that Neuronpedia's format does not have.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tools.tools_page import FIXTURES, HOOK, small_lens  # noqa: E402

import isthmus  # noqa: E402
from isthmus.formats import write  # noqa: E402

CASES = ("saelens/jumprelu", "saelens/topk-rescaled", "dictionary_learning/batchtopk",
         "llamascopium/jumprelu", "fitted here")  # fmt: skip


def dictionary(case: str) -> Any:
    """One that another library wrote, or one that is fitted here, its atoms of length 1."""
    if case in CASES[:-1]:
        return isthmus.from_pretrained(FIXTURES / case)
    rows = 2.0 * torch.randn(500, 8, generator=torch.Generator().manual_seed(1))
    model = isthmus.fit("topk", rows, latent_dim=24, k=4, steps=50, batch_size=100, progress=False)
    model.fold_scale()
    model.fold_decoder_norm()
    return model


def check(case: str, tokens: torch.Tensor) -> list[int]:
    """Build it; the latents that it shows."""
    import sae_lens
    from sae_dashboard.data_writing_fns import save_feature_centric_vis
    from sae_dashboard.neuronpedia.neuronpedia_converter import NeuronpediaConverter
    from sae_dashboard.neuronpedia.neuronpedia_runner_config import NeuronpediaRunnerConfig
    from sae_dashboard.sae_vis_data import SaeVisConfig
    from sae_dashboard.sae_vis_runner import SaeVisRunner

    hooked = small_lens()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(dictionary(case), folder / "sae")
        # Its latents are those of atoms of length 1: what it writes is read back and folded here.
        own = isthmus.from_pretrained(folder / "sae")
        lengths = own.W_dec.norm(dim=1)
        with torch.no_grad():
            _, cache = hooked.run_with_cache(tokens)
        codes = own.encode(cache[HOOK]) * lengths
        latents = (codes > 0).float().mean((0, 1)).topk(4).indices.tolist()
        config = SaeVisConfig(hook_point=HOOK, features=latents)
        sae = sae_lens.SAE.load_from_disk(folder / "sae")
        made = SaeVisRunner(config).run(encoder=sae, model=hooked, tokens=tokens)
        save_feature_centric_vis(made, folder / "page.html")
        assert (folder / "page.html").stat().st_size > 10_000
        about = NeuronpediaRunnerConfig(sae_set="mine", sae_path="sae", outputs_dir=".",
                                        model_id="made", layer=1)  # fmt: skip
        words = [f"w{number}" for number in range(50)]
        named = dict(enumerate(words))
        text = NeuronpediaConverter.convert_to_np_json(hooked, made, about, named)
    shown = json.loads(text)["features"]
    for place, latent in enumerate(latents):
        at = codes[..., latent]
        largest = made.feature_stats.max[place]
        assert abs(largest - float(at.max())) < 1e-4 * float(at.max()), (case, latent, largest)
        density = shown[place]["frac_nonzero"]
        assert abs(density - float((at > 0).float().mean())) < 1e-4, (case, latent, density)
        assert shown[place]["feature_index"] == latent
        for one in shown[place]["activations"]:
            ids = [words.index(word) for word in one["tokens"]]
            assert same_text(ids, one["values"], tokens, at), (case, latent, one)
    return latents


def same_text(ids: list[int], values: list[float], tokens: torch.Tensor, at: torch.Tensor) -> bool:
    """Whether a text that is shown is a piece of one that was given, with its activations."""
    for text, codes in zip(tokens.tolist(), at, strict=True):
        for first in range(len(text) - len(ids) + 1):
            piece = slice(first, first + len(ids))
            if text[piece] == ids:
                return torch.allclose(codes[piece], torch.tensor(values), rtol=1e-3, atol=1e-3)
    return False


def main() -> None:
    tokens = torch.randint(0, 50, (32, 12), generator=torch.Generator().manual_seed(0))
    for case in CASES:
        print(case, *check(case, tokens))


if __name__ == "__main__":
    main()
