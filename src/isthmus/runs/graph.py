"""A trained model as a graph of plain operators, which runs without this library.

``torch-export`` is the format of :func:`torch.export.save` (``.pt2``), ``onnx`` that of the Open
Neural Network Exchange (``.onnx``), which onnxruntime and most inference servers read. The scaler
is inside. What comes before a model reads its rows, such as the columns of a table or the bytes of
an image, is not: the graph reads what ``model.decode(z, as_read=True)`` gives.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, tree
from isthmus.anatomy.dictionary import code_of, decodes_latents
from isthmus.anatomy.evaluation_mode import evaluating
from isthmus.errors import IsthmusError, unknown
from isthmus.kernels import dispatch
from isthmus.runs.folder import write_atomically

Format = Literal["onnx", "torch-export"]
Piece = Literal["encoder", "decoder", "both"]

ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
TRACED_ROWS, CHECKED_ROWS = 3, 5
"""Rows that a graph is traced with, and rows of another number that it is checked with."""
CLOSE = 1e-4
"""How far a graph's numbers may lie from the model's, as a share of the largest of them."""
LARGEST = 2**31 - 2**20
"""Bytes of weights that one ONNX file holds: a message of protobuf has at most 2 GiB."""


class _Encoder(nn.Module):
    """Rows to their deterministic latents."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model.clean_code(self.model.scaler(x)).z


class _Decoder(nn.Module):
    """Latents to reconstructions."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Any:
        return _rebuilt(self.model, code_of(self.model, z))


class _Both(nn.Module):
    """Rows to their latents and reconstructions."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> tuple[Any, Any]:
        code = self.model.clean_code(self.model.scaler(x))
        return code.z, _rebuilt(self.model, code, x)


def _rebuilt(model: Autoencoder, code: Any, of: Any = None) -> Any:
    return model.unscaled(model.likelihood.mean(model.decode_code(code)), of)


_PIECES: dict[str, Callable[[Autoencoder], nn.Module]] = {
    "encoder": _Encoder,
    "decoder": _Decoder,
    "both": _Both,
}
_OUTPUTS = {"encoder": ["z"], "decoder": ["reconstruction"], "both": ["z", "reconstruction"]}


def export(
    model: Autoencoder, path: str | Path, *, to: Format | None = None, piece: Piece = "both"
) -> dict[str, Any]:
    """Write a model to a file that runs without this library; returns what the file says of itself.

    path
        Ends in ``.onnx`` or ``.pt2``.
    to
        ``"onnx"`` or ``"torch-export"``; by default what the ending of ``path`` says.
    piece
        ``"encoder"`` (rows to latents ``z``), ``"decoder"`` (``z`` to reconstructions) or
        ``"both"``. Inputs are float32 without gaps, any number of rows: ``x``
        ``(rows, *shape)`` in the units of the data as the model reads them (images as fractions,
        channels first; tables as the features that their columns became), or one input for each
        part of a collection; a reconstruction of several parts has an output
        ``reconstruction.PART`` for each.

    The graph is run once beside the model, on another number of rows than it was traced with, and
    refused where the numbers differ. ``IsthmusError`` where a model cannot be traced (a code found
    by search or an ODE, ragged rows, graphs, what is ``given``), or where ``onnxscript`` is not
    installed.
    """
    path = Path(path)
    kind = _format(path, to)
    if piece not in get_args(Piece):
        raise unknown("piece", piece, get_args(Piece))
    _check(model, piece)
    about = _about(model, piece)
    graph = _PIECES[piece](model)
    with evaluating(model), dispatch.dense():
        arguments = _examples(model, piece, TRACED_ROWS)
        about["outputs"] = _names(_run(graph, arguments, about), piece)
        program = _traced(graph, arguments, about)
        _compare(program, graph, _examples(model, piece, CHECKED_ROWS), about)
        content = _onnx(program, arguments, about) if kind == "onnx" else _pt2(program, about)
    write_atomically(path, content)
    return about


def _format(path: Path, to: Format | None) -> str:
    by_ending = {ending: name for name, ending in ENDINGS.items()}
    if to is not None and to not in ENDINGS:
        raise unknown("format", to, [*ENDINGS])
    kind = to or by_ending.get(path.suffix)
    if kind is None:
        raise IsthmusError(f"{path.name!r} does not say in which format: end it in .onnx or .pt2")
    if path.suffix != ENDINGS[kind]:
        raise IsthmusError(f"a file of {kind} ends in {ENDINGS[kind]}, and {path.name!r} does not")
    return kind


def _check(model: Autoencoder, piece: str) -> None:
    """Refuse what no graph of fixed operators can say, before anything is traced."""
    signals = model.signal.parts or {"x": model.signal}
    for signal in signals.values():
        if not signal.is_real or signal.ragged:
            what = "rows of different lengths" if signal.ragged else f"a {signal.kind}"
            raise IsthmusError(
                f"this model reads {what}, which a graph of fixed shapes cannot: encode with "
                "isthmus itself"
            )
    if piece == "encoder":
        return
    model._need_decoder()
    if piece == "decoder" and not decodes_latents(model):
        raise IsthmusError(
            "this model rebuilds from the whole code, not from z alone: export piece='both'"
        )


def _about(model: Autoencoder, piece: str) -> dict[str, Any]:
    config = model.config if isinstance(model.config, Mapping) else {}
    signals = model.signal.parts or {"x": model.signal}
    inputs = {name: [*signal.shape] for name, signal in signals.items()}
    return {
        "recipe": str(config.get("recipe", "")),
        "piece": piece,
        "inputs": {"z": [*_latents(model).shape[1:]]} if piece == "decoder" else inputs,
        "reads": _reading(model),
        "features": _features(model),
    }


def _names(outputs: tuple[Any, ...], piece: str) -> list[str]:
    """A name for each tensor that a graph gives, with the part's where there are several."""
    return [
        f"{name}.{part}" if part else name
        for name, output in zip(_OUTPUTS[piece], outputs, strict=True)
        for part, _ in tree.leaves(output)
    ]


def _subject(about: Mapping[str, Any]) -> str:
    recipe = about["recipe"] or "this model"
    return recipe if about["piece"] == "both" else f"the {about['piece']} of {recipe}"


def _run(graph: nn.Module, arguments: tuple[Any, ...], about: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the model gives for the examples, or why it cannot from these alone."""
    try:
        outputs = graph(*arguments)
    except IsthmusError as problem:
        raise IsthmusError(
            f"{_subject(about)} cannot be exported, as a graph gets "
            f"{', '.join(map(repr, about['inputs']))} and nothing else ({problem}): use isthmus "
            "itself for it"
        ) from problem
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _reading(model: Autoencoder) -> str:
    """What the rows are that the graph reads, in words."""
    if getattr(model.preparation, "parts", None):
        return "the features that the columns of the table became, without gaps"
    if any(signal.kind == "image" for signal in [model.signal, *model.signal.parts.values()]):
        return "images, channels first, bytes as fractions of 255, without gaps"
    return "rows in the units of the data, without gaps"


def _features(model: Autoencoder) -> list[str]:
    """The names of a table's features, in their order; none of other data."""
    table = (getattr(model.preparation, "parts", None) or {}).get("")
    return [*getattr(table, "features", ())]


def _examples(model: Autoencoder, piece: str, rows: int) -> tuple[Any, ...]:
    """Arguments of a graph, in the range of the data where that is known."""
    generator = torch.Generator().manual_seed(rows)

    def drawn(signal: Any) -> Tensor:
        x = torch.rand((rows, *signal.shape), generator=generator)
        low = 0.0 if signal.low is None else signal.low
        high = low + 1.0 if signal.high is None else signal.high
        return (low + (high - low) * x).to(model.device)

    parts = model.signal.parts
    each = {name: drawn(signal) for name, signal in parts.items()}
    x: Any = each if parts else drawn(model.signal)
    if piece != "decoder":
        return (x,)
    return (_Encoder(model)(x),)


def _latents(model: Autoencoder) -> Tensor:
    with evaluating(model), dispatch.dense():
        (z,) = _examples(model, "decoder", 2)
    if not isinstance(z, Tensor):
        raise IsthmusError("the latents of this model are several tensors: export piece='both'")
    return z


def _traced(graph: nn.Module, arguments: tuple[Any, ...], about: Mapping[str, Any]) -> Any:
    rows = torch.export.Dim("rows")
    shapes = tuple(
        {name: {0: rows} for name in one} if isinstance(one, Mapping) else {0: rows}
        for one in arguments
    )
    problem: Exception | None = None
    # As it stands; and where a number that a part keeps in a buffer decides what is computed, with
    # these numbers fixed.
    for scalars in (nullcontext, _scalars_as_numbers):
        try:
            with scalars(graph), _quiet():
                return torch.export.export(graph, arguments, dynamic_shapes=shapes)
        except Exception as raised:  # whatever a trace stumbles over
            problem = problem or raised
    lines = str(problem).strip().splitlines() or ["no reason given"]
    raise IsthmusError(
        f"{_subject(about)} cannot be traced into a graph "
        f"({type(problem).__name__}: {lines[0][:160]}): use isthmus itself for it"
    ) from problem


@contextmanager
def _scalars_as_numbers(graph: nn.Module) -> Iterator[None]:
    """Buffers of a single number are numbers for a while: a trace then takes them as constants."""
    kept = {part: dict(part._buffers) for part in graph.modules()}
    for part, buffers in kept.items():
        for name, buffer in buffers.items():
            if buffer is not None and buffer.ndim == 0:
                del part._buffers[name]
                part.__dict__[name] = buffer.item()
    try:
        yield
    finally:
        for part, buffers in kept.items():
            for name in buffers.keys() & part.__dict__.keys():
                del part.__dict__[name]
            part._buffers.clear()
            part._buffers.update(buffers)  # in the order in which they were


def _compare(
    program: Any, graph: nn.Module, arguments: tuple[Any, ...], about: Mapping[str, Any]
) -> None:
    """Refuse a graph whose numbers are not the model's."""
    pairs = zip(_flat(program.module()(*arguments)), _flat(graph(*arguments)), strict=True)
    for traced, right in pairs:
        far = float((traced.double() - right.double()).abs().max()) if traced.numel() else 0.0
        if not far <= CLOSE * (float(right.abs().max()) if right.numel() else 0.0):
            raise IsthmusError(
                f"the graph of {_subject(about)} differs by {far:.2g} from the "
                "model on other rows than it was traced with, so that nothing was written: its "
                "code depends on more than each row"
            )


def _flat(outputs: Any) -> list[Tensor]:
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return [leaf for part in parts for _, leaf in tree.leaves(part)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what PyTorch's exporters say to those who work on them."""
    loggers = [logging.getLogger(name) for name in ("torch.fx", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR + 1)
    try:
        # A trace that fails prints all that it has so far.
        nowhere = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _pt2(program: Any, about: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"isthmus.json": json.dumps(about)})
    return buffer.getvalue()


def _onnx(program: Any, arguments: tuple[Any, ...], about: Mapping[str, Any]) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError as problem:
        raise IsthmusError(
            "onnxscript is not installed: pip install 'isthmus[onnx]', or write a .pt2"
        ) from problem
    weights = sum(w.numel() * w.element_size() for w in program.state_dict.values())
    if weights > LARGEST:
        raise IsthmusError(
            f"{_subject(about)} has {weights / 2**30:.1f} GiB of weights, and one ONNX file holds "
            "two: write a .pt2"
        )
    both = sorted({*about["inputs"]} & {*about["outputs"]})
    if both:
        raise IsthmusError(
            f"ONNX wants one name for one thing, and {both[0]!r} is a part of the data and an "
            "output: write a .pt2, or name the part otherwise"
        )
    try:
        with _quiet():
            onnx_program = torch.onnx.export(
                program, arguments, dynamo=True, verbose=False,
                input_names=[*about["inputs"]], output_names=[*about["outputs"]],
            )  # fmt: skip
    except Exception as problem:
        first = str(problem).strip().splitlines()[0] if str(problem).strip() else "no reason given"
        raise IsthmusError(
            f"{_subject(about)} has an operator that ONNX lacks ({first[:160]}): write a .pt2"
        ) from problem
    assert onnx_program is not None
    proto = onnx_program.model_proto
    symbol = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == symbol:
                size.dim_param = "rows"
    for name in ("recipe", "piece", "reads"):
        entry = proto.metadata_props.add()
        entry.key, entry.value = f"isthmus.{name}", about[name]
    if about["features"]:
        entry = proto.metadata_props.add()
        entry.key, entry.value = "isthmus.features", json.dumps(about["features"])
    content: bytes = proto.SerializeToString()
    return content
