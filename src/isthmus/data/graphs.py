"""Graphs as examples: an opaque value of rows, one graph a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import IsthmusError


@dataclass(frozen=True, eq=False)
class Graphs:
    """Several graphs as one of disjoint components.

    ``nodes`` ``(all nodes, features)`` are their nodes' features one graph after another, and
    ``node_counts`` int64 ``(graphs,)`` how many each has. ``edges`` int64 ``(2, all edges)`` go
    from the first row to the second, by node numbers within the whole, and ``edge_counts``
    ``(graphs,)`` is how many each graph has; its edges stand together. ``edge_values``
    ``(all edges, features)`` are optional.

    It is a :class:`isthmus.anatomy.Rows`: ``isthmus.fit(model, graphs)`` reads graphs by number,
    and a model's encoder gets the graphs of a batch as one value.
    """

    nodes: Tensor
    node_counts: Tensor
    edges: Tensor
    edge_counts: Tensor
    edge_values: Tensor | None = None

    def __post_init__(self) -> None:
        if int(self.node_counts.sum()) != len(self.nodes):
            raise IsthmusError(
                f"the graphs have {len(self.nodes)} nodes and count {int(self.node_counts.sum())}: "
                "node_counts has the nodes of each graph"
            )
        if self.edges.ndim != 2 or len(self.edges) != 2:
            raise IsthmusError(
                f"edges of shape {tuple(self.edges.shape)} are none: pass (2, edges), from and to"
            )
        if int(self.edge_counts.sum()) != self.edges.shape[1]:
            raise IsthmusError(
                f"the graphs have {self.edges.shape[1]} edges and count "
                f"{int(self.edge_counts.sum())}: edge_counts has the edges of each graph"
            )
        owner = self.graph_of_node()
        if self.edges.numel():
            if int(self.edges.min()) < 0 or int(self.edges.max()) >= len(self.nodes):
                raise IsthmusError("an edge names a node that does not exist: count from 0")
            graph = torch.repeat_interleave(self.edge_counts)
            if not bool((owner[self.edges] == graph).all()):
                raise IsthmusError("an edge leaves its graph: edges stand graph by graph")

    @classmethod
    def of(cls, graphs: Sequence[tuple[Tensor, Tensor]]) -> "Graphs":
        """Graphs from pairs of nodes ``(nodes, features)`` and edges ``(2, edges)``, each counted
        from 0."""
        return cls.collate([
            cls(x, torch.tensor([len(x)]), edges, torch.tensor([edges.shape[1]]))
            for x, edges in graphs
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.node_counts)

    def graph_of_node(self) -> Tensor:
        """The graph's number of each node, ``(all nodes,)``: what sums over graphs go by."""
        return torch.repeat_interleave(self.node_counts)

    def take(self, index: Tensor) -> "Graphs":
        """The graphs of these numbers."""
        index = index.to(self.node_counts.device)
        nodes, first = _spans(self.node_counts, index)
        edges, _ = _spans(self.edge_counts, index)
        # Node numbers move by as much as their graph's first node does.
        new = torch.cat([first.new_zeros(1), self.node_counts[index].cumsum(0)[:-1]])
        shift = torch.repeat_interleave(new - first, self.edge_counts[index])
        values = None if self.edge_values is None else self.edge_values[edges]
        return Graphs(
            self.nodes[nodes],
            self.node_counts[index],
            self.edges[:, edges] + shift,
            self.edge_counts[index],
            values,
        )

    def to(self, device: torch.device) -> "Graphs":
        """The same graphs on a device."""
        return Graphs.restored({name: t.to(device) for name, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What is stored of them."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> "Graphs":
        """The graphs whose tensors were stored."""
        return cls(**tensors)

    @classmethod
    def collate(cls, parts: Sequence["Graphs"]) -> "Graphs":
        """The graphs of several values one after another."""
        sizes = torch.tensor([0, *(len(part.nodes) for part in parts[:-1])]).cumsum(0).tolist()
        values = [part.edge_values for part in parts]
        return cls(
            torch.cat([part.nodes for part in parts]),
            torch.cat([part.node_counts for part in parts]),
            torch.cat([part.edges + size for part, size in zip(parts, sizes, strict=True)], 1),
            torch.cat([part.edge_counts for part in parts]),
            None if any(v is None for v in values) else torch.cat(values),  # type: ignore[arg-type]
        )


def _spans(counts: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the entries of these groups, group by group, and where each group begins."""
    starts = counts.cumsum(0) - counts
    sizes, first = counts[index], starts[index]
    inside = torch.arange(int(sizes.sum()), device=counts.device)
    before = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    return inside - before + torch.repeat_interleave(first, sizes), first
