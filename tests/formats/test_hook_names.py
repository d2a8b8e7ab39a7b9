"""Names of points in other tools, held against small models whose activations are taken there."""

import pytest
import torch

import isthmus
from isthmus.activations import Activations
from isthmus.formats.hook_names import FAMILIES, LENS, TOOLS, families, names_of, point_of

pytest.importorskip("transformers")

from small_hosts import host, points


@pytest.mark.parametrize("model_type", FAMILIES)
def test_places_are_what_their_kind_says(model_type):
    model, inputs = host(model_type)
    at = points(model_type)
    taken = Activations(model, list(at.values()))(**inputs)
    # Points that are outputs are called without a side.
    acts = {key: taken[point.removesuffix(":out")] for key, point in at.items()}
    tokens = acts[next(iter(acts))].shape[1]
    for family in families(model_type):
        own = {(k, n): x for (stack, k, n), x in acts.items() if stack == family.stack}
        kinds = {kind for kind, _ in own}
        for (kind, layer), x in own.items():
            width = 24 if kind == "mlp_act" else 16
            assert x.shape == (2, tokens, width), (kind, layer)
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(own["resid_pre", 1], own["resid_post", 0], **close)
        for layer in range(2):
            pre, post = own["resid_pre", layer], own["resid_post", layer]
            if "mixer_out" in kinds:
                torch.testing.assert_close(pre + own["mixer_out", layer], post, **close)
                continue
            attention, mlp = own["attn_out", layer], own["mlp_out", layer]
            if family.stack.startswith("decoder"):  # attention to the other text lies between
                torch.testing.assert_close(pre + attention, own["resid_mid", layer], **close)
            elif "resid_mid" in kinds:
                torch.testing.assert_close(pre + attention, own["resid_mid", layer], **close)
                torch.testing.assert_close(own["resid_mid", layer] + mlp, post, **close)
            else:
                torch.testing.assert_close(pre + attention + mlp, post, **close)
            assert not torch.allclose(own["attn_in", layer], pre, **close)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_a_module_reads_is_what_the_norm_before_it_gave(model_type):
    model, inputs = host(model_type)
    for (stack, kind, layer), point in points(model_type).items():
        pair = {"attn_in": ("attn_raw", "attn_out"), "mlp_in": ("mlp_raw", "mlp_out"),
                "mixer_in": ("mixer_out",)}.get(kind)  # fmt: skip
        if pair is None:
            continue
        at = points(model_type)
        reader = next(at[stack, one, layer] for one in pair if (stack, one, layer) in at)
        reads = reader.replace(":out", ":in")
        taken = Activations(model, [point, reads])(**inputs)
        torch.testing.assert_close(taken[reads], taken[point.removesuffix(":out")])
        both = [names_of(one, model_type)["transformer_lens"] for one in (reads, point)]
        assert both[0] == both[1]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_names_lead_back_to_the_place(model_type):
    lens = 0
    for point in points(model_type).values():
        names = names_of(point, model_type)
        assert set(names) == set(TOOLS)
        assert names["nnsight"] is not None
        for tool, name in names.items():
            if name is not None:
                assert point_of(name, tool, model_type) == point, (tool, name)
        lens += names["transformer_lens"] is not None
    assert (lens > 0) == (model_type not in ("vit", "mamba"))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_paths_of_nnsight_lead_to_the_module(model_type):
    model, _ = host(model_type)
    for point in points(model_type).values():
        path, _, side = names_of(point, model_type)["nnsight"].rpartition(
            ".input" if point.endswith(":in") else ".output"
        )
        module = eval(f"model.{path}", {"model": model})
        assert module is model.get_submodule(point.partition(":")[0])
        assert side in ("", "[0]")


SAID = {
    ("transformer.h.3:out", "gpt2"): ("blocks.3.hook_resid_post", "transformer.h[3].output",
                                      "resid_post.3"),
    ("transformer.h.3.attn:out", "gpt2"): ("blocks.3.hook_attn_out",
                                           "transformer.h[3].attn.output[0]", "attn_out.3"),
    ("model.layers.0.mlp:in", "llama"): ("blocks.0.ln2.hook_normalized",
                                         "model.layers[0].mlp.input", "mlp_in.0"),
    ("model.layers.1.mlp:out", "gemma2"): (None, "model.layers[1].mlp.output", "mlp_out.1"),
    ("model.layers.1.post_feedforward_layernorm:out", "gemma2"): (
        "blocks.1.hook_mlp_out", "model.layers[1].post_feedforward_layernorm.output",
        "mlp_out_post.1"),
    ("model.embed_tokens:out", "llama"): ("hook_embed", "model.embed_tokens.output",
                                          "path.model.embed_tokens"),
    ("model.embed_tokens:out", "gemma"): (None, "model.embed_tokens.output",
                                          "path.model.embed_tokens"),
    ("encoder.block.1:out", "t5"): ("encoder.1.hook_resid_post", "encoder.block[1].output[0]",
                                    "path.encoder.block.1"),
    ("backbone.layers.1.mixer:out", "mamba"): (None, "backbone.layers[1].mixer.output",
                                               "path.backbone.layers.1.mixer"),
}  # fmt: skip


@pytest.mark.parametrize(("point", "model_type"), SAID)
def test_names_are_the_tools_own(point, model_type):
    assert tuple(names_of(point, model_type).values()) == SAID[point, model_type]


def test_what_is_no_place_is_refused():
    with pytest.raises(isthmus.IsthmusError, match="did you mean 'llama'"):
        names_of("model.layers.0:out", "lama")
    with pytest.raises(isthmus.IsthmusError, match="no place of a gpt2"):
        point_of("blocks.0.hook_nothing", "transformer_lens", "gpt2")
    with pytest.raises(isthmus.IsthmusError, match="no place of a gpt_neox"):
        point_of("blocks.0.hook_resid_mid", "transformer_lens", "gpt_neox")
    with pytest.raises(isthmus.IsthmusError, match="unknown tool"):
        point_of("x", "nnsite", "gpt2")
    with pytest.raises(isthmus.IsthmusError, match="is no point"):
        names_of("model.layers.0:sideways", "llama")
    assert len(LENS) == len({*LENS.values()})


@pytest.mark.parametrize("path", ["model..layers.3", " model.layers.3", "model.layers.-3",
                                  "model.layers.003", "layers[3"])  # fmt: skip
def test_what_can_be_no_path_has_no_names(path):
    with pytest.raises(isthmus.IsthmusError, match="is no point"):
        names_of(path, "llama")


@pytest.mark.parametrize(
    ("name", "tool"),
    [("path.", "interp_engine"), ("layers[3.output", "nnsight"), ("resid_post.²", "interp_engine")],
)
def test_what_no_tool_calls_so_is_no_point(name, tool):
    with pytest.raises(isthmus.IsthmusError):
        point_of(name, tool, "llama")
