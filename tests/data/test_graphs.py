"""Graphs are counted, chosen, joined, moved and stored; a model reads them through every verb."""

import pytest
import torch
from torch import nn

import isthmus
import zoo
from isthmus import IsthmusError
from isthmus.anatomy import Autoencoder, Batch, Rows, Signal
from isthmus.bottlenecks import Identity
from isthmus.data import Graphs, as_source
from isthmus.objectives import MSE


def made(n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(n):
        size = int(torch.randint(1, 7, (), generator=generator))
        edges = torch.randint(size, (2, int(torch.randint(0, 9, (), generator=generator))),
                              generator=generator)  # fmt: skip
        pairs.append((torch.randn(size, 3, generator=generator), edges))
    return pairs


def neighbours(x, edges):
    """By hand: the summed features of each node's neighbours."""
    out = torch.zeros_like(x)
    for a, b in edges.T.tolist():
        out[b] += x[a]
    return out


def messages(graphs):
    out = torch.zeros_like(graphs.nodes)
    return out.index_add(0, graphs.edges[1], graphs.nodes[graphs.edges[0]])


def pooled(graphs, values):
    zero = values.new_zeros(len(graphs), values.shape[1])
    return zero.index_add(0, graphs.graph_of_node(), values)


class GraphEncoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.linear = nn.Linear(6, latent)

    def forward(self, graphs):
        return self.linear(torch.cat([pooled(graphs, graphs.nodes),
                                      pooled(graphs, messages(graphs))], 1))  # fmt: skip


def summary(graphs):
    """What is rebuilt: the sums over nodes and over messages, ``(graphs, 6)``."""
    return torch.cat([pooled(graphs, graphs.nodes), pooled(graphs, messages(graphs))], 1)


def model():
    return Autoencoder(
        Signal("graph"),
        encoder=GraphEncoder(4),
        bottleneck=Identity(),
        decoder=nn.Linear(4, 6),
        objective=MSE(),
        target=summary,
    )


def test_chosen_graphs_are_those_alone():
    pairs = made()
    graphs = Graphs.of(pairs)
    assert isinstance(graphs, Rows)
    assert len(graphs) == len(pairs)
    index = torch.tensor([7, 0, 7, 31])
    taken = graphs.take(index)
    whole = torch.cat([neighbours(*pairs[i]) for i in index.tolist()])
    torch.testing.assert_close(messages(taken), whole)
    torch.testing.assert_close(taken.nodes, torch.cat([pairs[i][0] for i in index.tolist()]))
    joined = Graphs.collate([graphs.take(torch.arange(20)), graphs.take(torch.arange(20, 40))])
    for name, tensor in graphs.tensors().items():
        assert torch.equal(joined.tensors()[name], tensor)
    again = Graphs.restored(graphs.to(torch.device("cpu")).tensors())
    assert torch.equal(again.edges, graphs.edges)


def test_a_source_of_graphs_gives_batches_of_them():
    graphs = Graphs.of(made())
    source = as_source(graphs)
    assert source.signal.kind == "graph"
    batch = source.batch(torch.tensor([3, 5, 8]))
    assert len(batch) == 3
    part = batch.part(1, 3)
    torch.testing.assert_close(part.x.nodes, graphs.take(torch.tensor([5, 8])).nodes)


def test_a_model_of_graphs_is_fitted_saved_resumed_and_loaded(tmp_path):
    graphs = Graphs.of(made(60))
    common = {"steps": 200, "lr": 3e-2, "batch_size": 16, "progress": False, "validation": 0.2}
    own = model()
    start = {n: t.clone() for n, t in own.state_dict().items()}
    fitted = isthmus.fit(own, graphs, out=tmp_path / "run", **common)
    z = fitted.encode(graphs)
    assert z.shape == (60, 4)
    torch.testing.assert_close(fitted.encode(graphs.take(torch.tensor([9]))), z[9:10])
    assert fitted.score(graphs).shape == (60,)
    assert fitted.reconstruct(graphs).shape == (60, 6)
    assert isthmus.evaluate(fitted, graphs)["fvu"].value < 0.5  # four of six dimensions
    fresh = model()
    fresh.load_state_dict(start)
    loaded = isthmus.load(tmp_path / "run", fresh)
    assert zoo.sha(loaded) == zoo.sha(fitted)
    torch.testing.assert_close(loaded.encode(graphs), z)


def test_recipes_of_arrays_refuse_graphs_in_one_sentence():
    with pytest.raises(IsthmusError, match=r"'plain' reads .* and the data are graphs"):
        isthmus.fit("plain", Graphs.of(made()), steps=2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node_counts": torch.tensor([2])}, "have 3 nodes and count 2"),
        ({"edges": torch.zeros(3, 2, dtype=torch.int64)}, "pass \\(2, edges\\)"),
        ({"edge_counts": torch.tensor([1])}, "have 2 edges and count 1"),
        ({"edges": torch.tensor([[0, 5], [1, 1]])}, "does not exist"),
    ],
)
def test_what_is_no_graph_is_one_sentence(change, said):
    good = {
        "nodes": torch.zeros(3, 2),
        "node_counts": torch.tensor([3]),
        "edges": torch.tensor([[0, 1], [1, 2]]),
        "edge_counts": torch.tensor([2]),
    }
    Graphs(**good)
    with pytest.raises(IsthmusError, match=said):
        Graphs(**{**good, **change})
    two = Graphs.of([(torch.zeros(2, 1), torch.zeros(2, 0, dtype=torch.int64))] * 2)
    with pytest.raises(IsthmusError, match="leaves its graph"):
        Graphs(two.nodes, two.node_counts, torch.tensor([[0], [3]]), torch.tensor([1, 0]))
    assert len(Batch(two)) == 2
