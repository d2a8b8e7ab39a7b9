"""``isthmus steer``: text that a model writes with some latents of a dictionary changed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from isthmus.cli.common import Folder, interruptible, out
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    import torch

    from isthmus.anatomy import Autoencoder
    from isthmus.language import LanguageModel


def steer(
    folder: Folder,
    prompt: Annotated[str, typer.Argument(help="what the text begins with")],
    add: Annotated[list[str] | None, typer.Option(help="LATENT:NUMBER, added")] = None,
    clamp: Annotated[list[str] | None, typer.Option(help="LATENT:NUMBER, set to")] = None,
    scale: Annotated[list[str] | None, typer.Option(help="LATENT:NUMBER, times")] = None,
    ablate: Annotated[list[int] | None, typer.Option(help="LATENT, set to zero")] = None,
    where_active: Annotated[
        bool, typer.Option("--where-active", help="only where the latent fires")
    ] = False,
    new: Annotated[int, typer.Option(min=1, help="tokens to write")] = 40,
    samples: Annotated[int, typer.Option(min=1, help="texts of each kind")] = 2,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: likeliest")] = 0.8,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 0,
    data: Annotated[
        str | None, typer.Option(help="lm:... or store:..., where the run's data were moved")
    ] = None,
) -> None:
    """Let a language model write with latents of a dictionary changed, beside as it is.

    Numbers are in the units of the latent's values, which the page shows; everything that the
    dictionary does not explain is kept.
    """
    with interruptible():
        out.print(
            run(
                folder, prompt, add=add or [], clamp=clamp or [], scale=scale or [],
                ablate=ablate or [], where_active=where_active, new=new, samples=samples,
                temperature=temperature, seed=seed, data=data,
            )
        )  # fmt: skip


def run(
    folder: Path,
    prompt: str,
    *,
    add: Sequence[str] = (),
    clamp: Sequence[str] = (),
    scale: Sequence[str] = (),
    ablate: Sequence[int] = (),
    where_active: bool = False,
    new: int = 40,
    samples: int = 2,
    temperature: float = 0.8,
    seed: int = 0,
    data: str | None = None,
) -> RenderableType:
    """Continue a prompt without and with steering, and show both.

    ``add``, ``clamp`` and ``scale`` are ``LATENT:NUMBER``. ``data`` is where the run's data are
    now, where they were moved and are not found again. Raises :class:`IsthmusError` where the
    run in ``folder`` is no dictionary on a language model's activations.
    """
    from rich.console import Group
    from rich.text import Text

    from isthmus import runs
    from isthmus.activations.spec import model_behind, relocated
    from isthmus.interpretation.splice import spliced
    from isthmus.interpretation.steering import Steering
    from isthmus.language import generate
    from isthmus.training.checkpoint import read_config

    if samples < 1:
        raise IsthmusError(f"samples is {samples}: ask for at least 1")
    model = runs.load(folder)
    spec = data or (read_config(folder).get("data") or {}).get("spec")
    if spec is None:
        raise IsthmusError(
            f"{folder} does not name the data that it was fitted to: fit to lm:... or store:..."
        )
    host, points = model_behind(relocated(spec, folder))
    reads, point = _one_point(folder, model, points)
    steering = Steering(
        model, _numbers(add), _numbers(clamp), _numbers(scale), ablate,
        where_active=where_active, reads=reads,
    )  # fmt: skip
    tokens = _prompt(host, prompt).repeat(samples, 1)
    begin = tokens.shape[1]
    plain = generate(host, tokens, new, temperature=temperature, seed=seed)
    with spliced(host, {point: steering}):
        steered = generate(host, tokens, new, temperature=temperature, seed=seed)
    lines = [Text(f"at {point} of {host.name}", style="dim")]
    for title, rows in (("as it is", plain), ("steered", steered)):
        for row in rows:
            text = host.tokenizer.decode(row[begin:].tolist())
            lines.append(Text.assemble((f"{title}: ", "bold"), (prompt, "dim"), text))
    return Group(*lines)


def _one_point(
    folder: Path, model: "Autoencoder", points: tuple[str, ...]
) -> tuple[str | None, str]:
    """The point that is read, where it is not the one that is steered; and the latter."""
    from isthmus.anatomy import Only
    from isthmus.interpretation.encoding import parts_read

    if len(points) == 1:
        return None, points[0]
    sources = tuple(parts_read(model)) or points
    targets = model.target.names if isinstance(model.target, Only) else points
    if len(sources) > 1 or len(targets) > 1:
        listed = ", ".join(map(repr, points))
        raise IsthmusError(
            f"{folder} has one code for {len(points)} points together ({listed}), and a text is "
            "steered at one point, where the others are not known yet: fit a dictionary to one of "
            "them, or a transcoder from one to another"
        )
    return sources[0], targets[0]


def _numbers(words: Sequence[str]) -> dict[int, float]:
    """``LATENT:NUMBER`` by latent."""
    numbers: dict[int, float] = {}
    for one in words:
        latent, colon, number = one.partition(":")
        try:
            key, value = int(latent), float(number)
        except ValueError:
            colon = ""
        if not colon or not math.isfinite(value):
            raise IsthmusError(f"{one!r} is no latent with a number: write it as 12:4.5")
        if key in numbers:
            raise IsthmusError(f"latent {key} is given twice: name it once")
        numbers[key] = value
    return numbers


def _prompt(host: "LanguageModel", prompt: str) -> "torch.Tensor":
    """``(1, places)``, after BOS where the tokenizer has one."""
    import torch

    ids = host.tokenizer.encode(prompt)
    begin = [] if host.tokenizer.bos is None else [host.tokenizer.bos]
    if not begin and not ids:
        raise IsthmusError("the prompt is empty: give some words to continue")
    return torch.tensor([begin + list(ids)], dtype=torch.int64)
