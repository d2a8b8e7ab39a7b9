"""Small models at random of every family whose points other tools have names for."""

import torch
import transformers

from isthmus.formats.hook_names import families

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": 40}  # fmt: skip
HEADS = {"num_key_value_heads": 1, "head_dim": 8}
MODELS = {
    "gpt2": ("GPT2", {"n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 2, "vocab_size": 40}),
    "llama": ("Llama", {**SIZE, **HEADS}),
    "mistral": ("Mistral", {**SIZE, **HEADS}),
    "qwen2": ("Qwen2", {**SIZE, "num_key_value_heads": 1}),
    "qwen3": ("Qwen3", {**SIZE, **HEADS}),
    "gemma": ("Gemma", {**SIZE, **HEADS}),
    "gemma2": ("Gemma2", {**SIZE, **HEADS}),
    "gemma3_text": ("Gemma3Text", {**SIZE, **HEADS}),
    "gpt_neox": ("GPTNeoX", SIZE),
    "t5": ("T5", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
                  "vocab_size": 40}),
    "vit": ("ViT", {**{n: v for n, v in SIZE.items() if n != "vocab_size"}, "image_size": 8,
                    "patch_size": 4, "num_channels": 1}),
    "mamba": ("Mamba", {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 2,
                        "vocab_size": 40}),
}  # fmt: skip
WHOLE = {"gpt2": "GPT2LMHeadModel", "t5": "T5ForConditionalGeneration", "vit": "ViTModel",
         "gemma3_text": "Gemma3ForCausalLM"}  # fmt: skip


def host(model_type):
    """A small model at random, and what it is called with."""
    stem, sizes = MODELS[model_type]
    config = getattr(transformers, f"{stem}Config")(**sizes)
    assert config.model_type == model_type
    torch.manual_seed(0)
    model = getattr(transformers, WHOLE.get(model_type, f"{stem}ForCausalLM"))(config).eval()
    with torch.no_grad():  # norms and biases that are not those of a fresh model
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    ids = torch.randint(0, 40, (2, 5))
    if model_type == "vit":
        return model, {"pixel_values": torch.randn(2, 1, 8, 8)}
    return model, {"input_ids": ids, **({"decoder_input_ids": ids} if model_type == "t5" else {})}


def points(model_type):
    """(stack, kind, layer) and the point of each."""
    found = {}
    for family in families(model_type):
        for kind, (inner, side) in family.places.items():
            for layer in range(2):
                path = f"{family.stack}.{layer}" + (f".{inner}" if inner else "")
                found[family.stack, kind, layer] = f"{path}:{side}"
    return found
