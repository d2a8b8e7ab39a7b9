"""A dictionary that is compiled as one graph, and exported, on the paths named as arguments."""

import sys

import torch
from torch import nn

from isthmus.kernels import Preactivations, residual, sparse_decode, using

ROWS, D, WIDTH, K = 6, 5, 200, 3


def tensors(dtype=torch.float32):
    """x, target, weight, bias, values, offset of that type, and indices."""
    g = torch.Generator().manual_seed(0)
    x, target = torch.randn(ROWS, D, generator=g), torch.randn(ROWS, D, generator=g)
    weight, bias = torch.randn(WIDTH, D, generator=g), torch.randn(WIDTH, generator=g)
    indices = torch.rand(ROWS, WIDTH, generator=g).topk(K, 1).indices
    values, offset = torch.randn(ROWS, K, generator=g), torch.randn(D, generator=g)
    made = {"x": x, "target": target, "weight": weight, "bias": bias, "values": values}
    made = {name: t.to(dtype) for name, t in {**made, "offset": offset}.items()}
    return {**made, "indices": indices}


class Small(nn.Module):
    """Encoder, the k largest, decoder and squared error."""

    def __init__(self):
        super().__init__()
        t = tensors()
        self.encoder, self.bias = nn.Parameter(t["weight"]), nn.Parameter(t["bias"])
        self.decoder, self.offset = nn.Parameter(t["weight"].clone()), nn.Parameter(t["offset"])

    def forward(self, x):
        values, indices = Preactivations(x, self.encoder, self.bias, self.offset).top(K)
        values = values.relu()
        error = residual(values, indices, self.decoder, self.offset, x)
        if error is not None:
            return error.squares.sum()
        return (sparse_decode(values, indices, self.decoder) + self.offset - x).square().sum()


def gradients(model, function, x):
    """The loss and the gradient of every parameter."""
    loss = function(x)
    loss.backward()
    taken = [loss.detach(), *(p.grad for p in model.parameters())]
    model.zero_grad(set_to_none=True)
    return taken


def check_compiled(path):
    """One graph, of the operators, with the gradients of what is not compiled."""
    model, x, names = Small(), tensors()["x"], set()

    def record(graph, inputs):
        names.update(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return graph

    torch.compile(model, backend=record, fullgraph=True)(x)
    error = "decode_error" if path == "native" else "decode"
    assert {"isthmus.select_top.default", f"isthmus.{error}.default"} <= names, names
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    pairs = zip(gradients(model, compiled, x), gradients(model, model, x), strict=True)
    for mine, wanted in pairs:
        torch.testing.assert_close(mine, wanted)


def check_exported():
    """A program for any number of rows, with the operators in it."""
    model, x = Small(), tensors()["x"]
    rows = torch.export.Dim("rows", min=2, max=64)
    more = torch.cat([x, x.flip(0)])
    for strict in (False, True):
        with torch.no_grad():
            exported = torch.export.export(
                model, (x,), dynamic_shapes={"x": {0: rows}}, strict=strict
            )
            names = {str(n.target) for n in exported.graph.nodes}
            wanted = {"isthmus.select_top.default", "isthmus.decode.default"}
            assert wanted <= names, names
            torch.testing.assert_close(exported.module()(more), model(more))


def main():
    torch.set_num_threads(1)
    for path in sys.argv[1:]:
        with using(path):
            check_compiled(path)
            print("compiled")
            check_exported()
            print("exported")


if __name__ == "__main__":
    main()
