"""Activations by vLLM: the residual stream behind layers, through its hidden-state extraction.

Written against the interface that vLLM documents (``extract_hidden_states`` with its example
connector, a safetensors file for each request) and tested with a stand-in: it has not run with vLLM
itself. Two traps are met here: vLLM counts layers from 1, and prefix caching would leave out rows.
"""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.language.hub import HubTokenizer

POINT = "layers.{}"
"""The residual stream behind block so many, counted from 0 as everywhere in this library."""


@dataclass
class VllmProvider:
    """A causal model in vLLM, as a provider of activations behind the blocks ``layers``.

    ``layers`` are counted from 0; ``options`` go to ``vllm.LLM`` (``tensor_parallel_size=8``).
    ``revision`` is noted as that of the weights, which vLLM does not tell.
    """

    name: str
    layers: Sequence[int]
    revision: str = "main"
    dtype: str = "bfloat16"
    context: int = 1024
    options: dict[str, Any] = field(default_factory=dict)
    causal: bool = True
    opened: str = ""

    def __post_init__(self) -> None:
        try:
            import vllm
        except ImportError as error:
            raise MissingExtra("vllm", "vllm", f"the provider of {self.name!r}") from error
        if not self.layers or min(self.layers) < 0:
            raise IsthmusError(f"layers={list(self.layers)} are blocks, counted from 0: name some")
        folder = tempfile.mkdtemp(prefix="isthmus-vllm-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._vllm = vllm
        # vLLM calls the input of the first block 0, and what is behind block n therefore n + 1.
        ids = [layer + 1 for layer in self.layers]
        self._engine = vllm.LLM(
            model=self.name, revision=self.revision, dtype=self.dtype,
            max_model_len=self.context + 1, enable_prefix_caching=False,
            enable_chunked_prefill=False,
            speculative_config={
                "method": "extract_hidden_states",
                "num_speculative_tokens": 1,
                "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": ids}},
            },
            kv_transfer_config={
                "kv_connector": "ExampleHiddenStatesConnector",
                "kv_role": "kv_producer",
                "kv_connector_extra_config": {"shared_storage_path": folder},
            },
            **self.options,
        )  # fmt: skip
        self.tokenizer = HubTokenizer(self._engine.get_tokenizer())
        width = int(self._engine.llm_engine.model_config.get_hidden_size())
        self.widths = {POINT.format(layer): width for layer in self.layers}

    def activations(
        self, rows: Sequence[Sequence[int]], points: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """For each row its activations ``(tokens, width)`` by point."""
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        sampling = self._vllm.SamplingParams(max_tokens=1, temperature=0.0)
        outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        return [self._read(one, row, points) for one, row in zip(outputs, rows, strict=True)]

    def _read(self, output: Any, row: Sequence[int], points: Sequence[str]) -> dict[str, Tensor]:
        path = (output.kv_transfer_params or {}).get("hidden_states_path")
        if path is None:
            raise IsthmusError(
                f"vLLM wrote no hidden states of {self.name}: it needs 0.17 or newer"
            )
        with safe_open(path, "pt") as file:
            states, tokens = file.get_tensor("hidden_states"), file.get_tensor("token_ids")
        Path(path).unlink(missing_ok=True)
        if tokens[: len(row)].tolist() != list(row):
            raise IsthmusError(
                f"vLLM gave hidden states of {self.name} for other tokens than it was asked for: "
                "switch prefix caching off"
            )
        by_point = {POINT.format(layer): place for place, layer in enumerate(self.layers)}
        return {point: states[: len(row), by_point[point]] for point in points}
