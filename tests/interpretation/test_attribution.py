"""Attributions through transcoders: sums that are exact, edges that are products of weights."""

from itertools import pairwise

import pytest
import torch

from isthmus.anatomy import Signal, offset
from isthmus.errors import IsthmusError
from isthmus.interpretation import Splice, spliced
from isthmus.interpretation.attribution import Node, Trace, edges
from isthmus.interpretation.encoding import coded, decoded
from isthmus.interpretation.heads import head_map
from isthmus.interpretation.replacement import skips
from isthmus.recipes import get_recipe

from .made import dictionary, language, tokens

HOST = language(layers=3)
ROW = tokens().ids[0]


def activations(point, side):
    kept = []
    module = HOST.module.get_submodule(point)
    if side == "in":
        handle = module.register_forward_pre_hook(lambda m, args: kept.append(args[0][0]))
    else:
        handle = module.register_forward_hook(lambda m, args, out: kept.append(out[0]))
    with torch.no_grad():
        HOST.module(ROW[None])
    handle.remove()
    return kept[0]


def transcoder(layer, **options):
    """An untrained transcoder of a layer's feed-forward part."""
    x, y = (activations(f"layers.{layer}.mlp", side) for side in ("in", "out"))
    rows, page = {"in": x, "out": y}, get_recipe("transcoder")
    options = {"latent_dim": 24, "l0": 5.0, **options}
    torch.manual_seed(layer)
    made = page.build(Signal.infer(rows), page.parse(options)[0])
    with torch.no_grad():
        made.prepare(rows)
    return made.eval()


CODERS = {0: transcoder(0), 1: transcoder(1), 2: transcoder(2)}


@pytest.mark.parametrize(
    "made",
    [
        CODERS[1],
        transcoder(1, scaling="norm"),
        transcoder(1, scaling="columns"),
        dictionary(),
        dictionary(scaling="columns"),
        dictionary("relu-l1", scaling="none"),
    ],
    ids=["global", "norm", "own columns", "sae", "columns", "none"],
)
def test_rows_read_and_written_are_those_of_the_activations_units(made):
    x = activations("layers.1.mlp", "in")
    rows, bias = made.read_rows()
    z = coded(made, x).z
    pre = x @ rows.T + bias
    torch.testing.assert_close(torch.where(z > 0, pre, 0.0), z, atol=1e-4, rtol=1e-4)
    assert (z > 0).any()
    torch.testing.assert_close(
        z @ made.atoms() + offset(made), decoded(made, coded(made, x)),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("given", [(0, 1, 2), (0, 2), (2,)])
@pytest.mark.parametrize("place", [1, 9])
def test_the_parts_add_up_to_the_pre_activation(given, place):
    trace = Trace(HOST, ROW, {layer: CODERS[layer] for layer in given})
    u = trace.pre_activations(2, place)
    x = activations("layers.2.mlp", "in")[place]
    rows, bias = CODERS[2].read_rows()
    torch.testing.assert_close(u.float(), rows @ x + bias, atol=1e-4, rtol=1e-4)
    for latent in range(0, 24, 5):
        parts = trace.parts(trace.reading(2, latent, place))
        assert parts.total == pytest.approx(float(u[latent]), abs=1e-4)
        assert set(parts.latents) == set(given) - {2}
        assert parts.heads[:, :, place + 1 :].abs().max() == 0  # nothing comes from later


def test_a_latents_part_is_its_value_times_an_edge():
    trace = Trace(HOST, ROW, CODERS)
    place, latent = 7, 3
    stream = activations("layers.2.mlp_norm", "in")[place].double()
    scale = stream.square().mean().add(1e-6).sqrt()
    gain = HOST.module.layers[2].mlp_norm.weight
    weights = edges(CODERS[1], CODERS[2], gain=gain)[:, latent].double()
    z = coded(CODERS[1], activations("layers.1.mlp", "in")).z[place].double()
    expected = z * weights / scale
    found = trace.parts(trace.reading(2, latent, place)).latents[1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_latents_part_is_what_its_ablation_takes_away():
    """With normalisation scale fixed: the readout of the change in what is written."""
    trace = Trace(HOST, ROW, CODERS)
    place, latent = 7, 3
    reading = trace.reading(2, latent, place)
    found = trace.parts(reading).latents[0]
    x = activations("layers.0.mlp", "in")
    z = coded(CODERS[0], x).z[place].detach()
    active = int(z.argmax())
    without = z.clone()
    without[active] = 0.0
    written = (z - without) @ CODERS[0].atoms()
    assert float(found[active]) == pytest.approx(float(written.double() @ reading.vector), abs=1e-5)


def test_paths_through_heads_and_latents_are_readings_that_add_up():
    trace = Trace(HOST, ROW, CODERS)
    reading = trace.reading(2, 3, 9)
    parts = trace.parts(reading)
    by_head = trace.through_head(reading, 1, 1, 4)
    assert trace.parts(by_head).total == pytest.approx(float(parts.heads[1, 1, 4]), abs=1e-5)
    active = int(parts.latents[1].abs().argmax())
    by_latent = trace.through_latent(reading, 1, active)
    assert trace.parts(by_latent).total == pytest.approx(float(parts.latents[1][active]), abs=1e-5)


def test_a_path_through_a_head_is_a_product_of_weights_and_the_pattern():
    trace = Trace(HOST, ROW, CODERS)
    place, source, latent, head = 9, 4, 3, 1
    block = HOST.module.layers[1]
    scales = [
        activations(point, "in")[at].double().square().mean().add(1e-6).sqrt()
        for point, at in (("layers.1", source), ("layers.2.mlp_norm", place))
    ]
    through = block.attention_norm.weight[:, None] * head_map(block.attention, head)
    weights = edges(
        CODERS[0], CODERS[2], gain=HOST.module.layers[2].mlp_norm.weight, through=through
    )
    pattern = trace.patterns[1, head, place, source]
    expected = pattern * trace.values[0][source] * weights[:, latent] / scales[0] / scales[1]
    behind = trace.through_head(trace.reading(2, latent, place), 1, head, source)
    torch.testing.assert_close(trace.parts(behind).latents[0], expected, atol=1e-6, rtol=1e-4)


def test_greedy_paths_begin_with_the_largest_part():
    trace = Trace(HOST, ROW, CODERS)
    parts = trace.parts(trace.reading(2, 3, 9))
    largest = max(
        float(parts.heads.abs().max()), *(float(v.abs().max()) for v in parts.latents.values())
    )
    paths = trace.paths(2, 3, 9, keep=4, length=3)
    ones = [path for path in paths if len(path.nodes) == 2]
    assert abs(ones[0].value) == pytest.approx(largest)
    assert len(ones) == 4
    assert all(path.nodes[-1] == Node("latent", 2, 3, 9) for path in paths)
    assert all(a.layer <= b.layer for path in paths for a, b in pairwise(path.nodes))
    assert max(len(path.nodes) for path in paths) == 4
    sizes = [abs(path.value) for path in paths]
    assert sizes == sorted(sizes, reverse=True)


def test_a_splice_of_transcoders_writes_what_the_trace_says():
    trace = Trace(HOST, ROW, {1: CODERS[1]})
    kept = []
    edit = Splice(CODERS[1], reads="layers.1.mlp:in")
    look = HOST.module.layers[1].register_forward_hook(lambda m, args, out: kept.append(out[0]))
    with torch.no_grad():
        HOST.module(ROW[None])
        with spliced(HOST.module, {"layers.1.mlp": edit}):
            HOST.module(ROW[None])
    look.remove()
    torch.testing.assert_close((kept[0] - kept[1]).double(), trace.errors[1], atol=1e-4, rtol=1e-4)


def skipping(layer, **options):
    """As :func:`transcoder`, with a skip that is not zero."""
    made = transcoder(layer, skip=True, **options)
    with torch.no_grad():
        made.decoder.skip_weight.normal_(std=0.2, generator=torch.Generator().manual_seed(layer))
    return made


@pytest.mark.parametrize("scaling", ["global", "columns"])
def test_a_skip_is_a_part_of_its_own_and_a_reading(scaling):
    made = skipping(1, scaling=scaling)
    x = activations("layers.1.mlp", "in")
    matrix, constant = skips(made)
    code = coded(made, x)
    plain = code.z @ made.atoms() + offset(made)
    torch.testing.assert_close(
        x @ matrix.T + constant, decoded(made, code) - plain, atol=1e-4, rtol=1e-4
    )
    trace = Trace(HOST, ROW, {0: CODERS[0], 1: made, 2: CODERS[2]})
    reading = trace.reading(2, 3, 9)
    parts = trace.parts(reading)
    assert parts.total == pytest.approx(float(trace.pre_activations(2, 9)[3]), abs=1e-4)
    assert set(parts.skip) == {1}
    assert parts.skip[1] == pytest.approx(
        float((x[9] @ matrix.T).double() @ reading.vector), abs=1e-5
    )
    behind = trace.through_skip(reading, 1)
    assert trace.parts(behind).total == pytest.approx(parts.skip[1], abs=1e-5)
    assert Node("skip", 1, 0, 9) in {
        node for path in trace.paths(2, 3, 9, keep=40, length=2) for node in path.nodes
    }


def across(layers=(0, 1, 2), **options):
    """A cross-layer transcoder whose latents write to all later layers, too."""
    rows = {}
    for layer in layers:
        rows[f"layers.{layer}.mlp:in"] = activations(f"layers.{layer}.mlp", "in")
        rows[f"layers.{layer}.mlp"] = activations(f"layers.{layer}.mlp", "out")
    page = get_recipe("cross-layer-transcoder")
    torch.manual_seed(0)
    made = page.build(Signal.infer(rows), page.parse({"latent_dim": 24, "l0": 5.0, **options})[0])
    with torch.no_grad():
        made.prepare(rows)
        for name in made.decoder.names:
            made.decoder[name].weight.add_(0.1 * torch.randn_like(made.decoder[name].weight))
    return made.eval(), rows


@pytest.mark.parametrize("scaling", ["global", "columns"])
@pytest.mark.parametrize("layers", [(0, 1, 2), (0, 2)])
def test_latents_that_write_to_several_layers_add_up(layers, scaling):
    made, rows = across(layers, scaling=scaling)
    trace = Trace(HOST, ROW, made)
    z = made.encode(rows).double().chunk(len(layers), 1)
    for number, layer in enumerate(layers):
        torch.testing.assert_close(trace.values[layer], z[number], atol=1e-4, rtol=1e-4)
        recon = made.reconstruct(rows)[f"layers.{layer}.mlp"].double()
        missed = rows[f"layers.{layer}.mlp"].double() - recon
        torch.testing.assert_close(trace.errors[layer], missed, atol=1e-4, rtol=1e-4)
    u = trace.pre_activations(2, 9)
    reading = trace.reading(2, 3, 9)
    parts = trace.parts(reading)
    assert parts.total == pytest.approx(float(u[3]), abs=1e-3)
    # A latent of layer 0 reaches layer 2 by what it adds to every layer before that.
    atoms = made.atoms()
    before = [layer for layer in layers if layer < 2]
    written = sum(atoms[f"layers.{layer}.mlp"][:24].double() for layer in before)
    expected = z[0][9] * (written @ reading.vector)
    torch.testing.assert_close(parts.latents[0], expected, atol=1e-5, rtol=1e-4)
    active = int(parts.latents[0].abs().argmax())
    behind = trace.through_latent(reading, 0, active)
    assert trace.parts(behind).total == pytest.approx(float(parts.latents[0][active]), abs=1e-4)
    assert trace.paths(2, 3, 9, keep=4, length=2)


def test_what_cannot_be_traced_is_said():
    with pytest.raises(IsthmusError, match="has no skip"):
        Trace(HOST, ROW, CODERS).through_skip(Trace(HOST, ROW, CODERS).reading(2, 3, 9), 1)
    with pytest.raises(IsthmusError, match="no layer 7"):
        Trace(HOST, ROW, {7: CODERS[0]})
    with pytest.raises(IsthmusError, match="no single row"):
        Trace(HOST, ROW[None], CODERS)
    with pytest.raises(IsthmusError, match="no transcoder"):
        Trace(HOST, ROW, {0: CODERS[0]}).reading(2, 0, 0)
    with pytest.raises(IsthmusError, match="no latent 24"):
        Trace(HOST, ROW, CODERS).reading(2, 24, 0)
