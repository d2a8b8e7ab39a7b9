"""Direct effects add up, are what a linearised model does, and are summed paths of a trace."""

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.interpretation.attribution import Trace
from isthmus.interpretation.attribution_graph import direct_effects
from isthmus.interpretation.heads import head_map

from .test_attribution import CODERS, HOST, ROW, across, skipping

PLACES = len(ROW)


def graphs():
    yield "each", Trace(HOST, ROW, CODERS)
    yield "two of three", Trace(HOST, ROW, {0: CODERS[0], 2: CODERS[2]})
    yield "skip", Trace(HOST, ROW, {0: CODERS[0], 1: skipping(1), 2: skipping(2)})
    yield "across", Trace(HOST, ROW, across()[0])
    yield "across two", Trace(HOST, ROW, across((0, 2))[0])


TRACES = dict(graphs())


@pytest.mark.parametrize("omit", [0, 1])
@pytest.mark.parametrize("name", TRACES)
def test_the_effects_on_a_target_add_up_to_it(name, omit):
    trace = TRACES[name]
    graph = direct_effects(trace, logits=[5, 17], omit=omit)
    assert len(graph.latents) > 20
    total = graph.effects.sum(1) + graph.rest
    torch.testing.assert_close(total, graph.targets, rtol=1e-4, atol=1e-4)
    for row, (layer, place, number) in enumerate(graph.latents.tolist()):
        assert place >= omit
        own = trace.pre_activations(layer, place)[number]
        torch.testing.assert_close(graph.targets[row], own, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        scores = HOST.module(ROW[None])[0, -1].double()
    torch.testing.assert_close(graph.targets[-2:], scores[[5, 17]] - scores.mean(),
                               rtol=1e-4, atol=1e-4)  # fmt: skip
    torch.testing.assert_close(graph.probabilities, scores.softmax(0)[[5, 17]])
    # Nothing comes from a later place, nor from a layer's own or later latents.
    target, source = graph.latents[:, None], graph.latents[None]
    later = (source[..., 1] > target[..., 1]) | (source[..., 0] >= target[..., 0])
    assert float(graph.from_latents[:-2][later].abs().max()) == 0.0
    assert float(graph.from_latents[:-2][~later].abs().max()) > 0.0


@pytest.mark.parametrize("name", ["each", "across"])
def test_an_effect_is_what_the_linearised_model_loses_without_the_source(name):
    """The stream of all places by a loop of its own, with and without what a latent writes."""
    trace = TRACES[name]
    graph = direct_effects(trace, logits=[5])
    source = int(graph.from_latents[-1].abs().argmax())
    layer, place, number = graph.latents[source].tolist()
    stream = torch.zeros(PLACES, HOST.module.shape.width, dtype=torch.float64)
    for i in range(3):
        gain = scale(f"layers.{i}:in", trace)
        read = stream * gain * HOST.module.layers[i].attention_norm.weight.double()
        attention = HOST.module.layers[i].attention
        for head in range(attention.heads):
            stream = stream + trace.patterns[i, head] @ read @ head_map(attention, head).double()
        for row, (at, where, latent) in enumerate(graph.latents.tolist()):
            if at == i:
                norm = HOST.module.layers[i].mlp_norm.weight.double()
                x = stream[where] * scale(f"layers.{i}.mlp_norm:in", trace)[where] * norm
                found = trace.read_by(i)[0][latent].double() @ x
                torch.testing.assert_close(graph.from_latents[row, source], found,
                                           rtol=1e-6, atol=1e-9)  # fmt: skip
        if i in trace.replacement.writes[layer]:
            written = trace.replacement.writes[layer][i][number].double()
            stream[place] += trace.values[layer][place, number] * written
    last = stream[-1] * scale("layers.2", trace)[-1] * HOST.module.norm.weight.double()
    weight = HOST.module.embed.weight.double()
    torch.testing.assert_close(graph.from_latents[-1, source], last @ (weight[5] - weight.mean(0)),
                               rtol=1e-6, atol=1e-9)  # fmt: skip


def scale(point, trace):
    return torch.rsqrt(trace.taken[point].double().square().mean(1, keepdim=True) + 1e-6)


def test_an_effect_at_one_place_is_the_part_of_a_trace_and_what_heads_bring():
    trace = TRACES["each"]
    graph = direct_effects(trace)
    row = next(i for i, (layer, place, _) in enumerate(graph.latents.tolist())
               if layer == 1 and place > 5)  # fmt: skip
    layer, place, number = graph.latents[row].tolist()
    reading = trace.reading(layer, number, place)
    total = trace.parts(reading).latents[0]  # by the stream alone, and through each head
    for source in range(place + 1):
        heads = [trace.parts(trace.through_head(reading, 1, head, source)).latents[0]
                 for head in range(2)]  # fmt: skip
        expected = sum(heads) + (total if source == place else 0.0)
        at = (graph.latents[:, 0] == 0) & (graph.latents[:, 1] == source)
        torch.testing.assert_close(graph.from_latents[row, at], expected[graph.latents[at, 2]],
                                   rtol=1e-5, atol=1e-8)  # fmt: skip


def test_logits_are_the_likeliest_that_have_a_share():
    trace = TRACES["each"]
    most = direct_effects(trace, logits=40, share=0.5)
    assert most.probabilities.sum() >= 0.5
    assert most.probabilities[:-1].sum() < 0.5
    assert torch.equal(most.probabilities, most.probabilities.sort(descending=True).values)
    assert len(direct_effects(trace, logits=1).logits) == 1


def test_the_square_matrix_has_targets_rows_alone():
    graph = direct_effects(TRACES["each"], logits=[3])
    square, n = graph.adjacency(), len(graph.latents)
    nodes = n + 3 * PLACES + PLACES + 1
    assert square.shape == (nodes, nodes)
    assert torch.equal(square[:n, :-1], graph.effects[:n])
    assert torch.equal(square[-1, :-1], graph.effects[-1])
    assert not square[n:-1].any()
    assert not square[:, -1].any()
    assert torch.equal(square[-1, n : n + 3 * PLACES].view(3, PLACES), graph.from_errors[-1])
    assert torch.equal(square[-1, -1 - PLACES : -1], graph.from_embeddings[-1])


def test_what_makes_no_graph_is_said(monkeypatch):
    trace = TRACES["each"]
    with pytest.raises(IsthmusError, match="leave one"):
        direct_effects(trace, omit=PLACES)
    with pytest.raises(IsthmusError, match="from 0 to 39"):
        direct_effects(trace, logits=[40])
    monkeypatch.setattr("isthmus.interpretation.attribution_graph.MOST", 5)
    with pytest.raises(IsthmusError, match="at most 5"):
        direct_effects(trace)
