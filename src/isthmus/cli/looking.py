"""Commands that look inside a model: harvest, report, label, steer."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

Parse = Callable[[list[str]], dict[str, Any]]
Interruptible = Callable[[], AbstractContextManager[None]]


def add_to(app: typer.Typer, out: Console, parse: Parse, interruptible: Interruptible) -> None:
    """Register the commands; what they need is imported when they run."""

    @app.command()
    def harvest(
        model: Annotated[
            str, typer.Argument(help="resident, a folder or name for transformers, module:factory")
        ] = "resident",
        at: Annotated[
            list[str] | None,
            typer.Option(
                help="module paths, wildcards allowed: layers.*, layers.1.mlp:in, lstm:0; by "
                "default a language model's blocks"
            ),
        ] = None,
        text: Annotated[
            str | None, typer.Option(help="a file, a folder, gutenberg12, masc, samples")
        ] = None,
        data: Annotated[
            str | None, typer.Option(help="rows, for a module that is no language model")
        ] = None,
        tokens: Annotated[
            int | None, typer.Option(min=1, help="at most so many; by default 200,000")
        ] = None,
        every: Annotated[bool, typer.Option("--all", help="all tokens of the text")] = False,
        context: Annotated[int | None, typer.Option(min=2, help="tokens of one row")] = None,
        dtype: Annotated[
            str, typer.Option(help="as which they are stored: float32, float16, bfloat16 or int8")
        ] = "float16",
        host_dtype: Annotated[
            str | None,
            typer.Option(help="what the model computes in: float32, bf16, half, auto (as stored)"),
        ] = None,
        device: Annotated[
            str | None, typer.Option(help="where it computes: cpu, cuda, gpu, auto")
        ] = None,
        axis: Annotated[
            list[str] | None,
            typer.Option(help="of the features: -1, 1, or POINT=1; by default found out"),
        ] = None,
        max_norm: Annotated[
            str | None,
            typer.Option(
                help="leave out tokens of more than so many times the median norm; none keeps all;"
                " by default 10 for language models"
            ),
        ] = None,
        batch: Annotated[int, typer.Option(min=1, help="rows of a forward pass")] = 32,
        keep_special: Annotated[bool, typer.Option(help="keep tokens that are no text")] = False,
        output: Annotated[
            Path, typer.Option("-o", "--output", metavar="DIR", help="the store")
        ] = Path("activations"),
        quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
    ) -> None:
        """Store the activations of a model: a language model on text, any module on data.

        Special tokens and padding are left out, and tokens whose norm is far beyond all others
        (attention sinks). A killed harvest goes on by the same command, and more text can be added
        to the same store: what is there already is not added again. Byte images go through the
        image processor that lies beside a vision model.
        """
        from isthmus.activations.spec import TOKENS
        from isthmus.cli import harvest as cli

        taken = None if every else tokens or TOKENS
        with interruptible():
            found = cli.run(
                model, at or [], output, text=text, data=data, tokens=taken,
                context=context, dtype=dtype, host_dtype=host_dtype, device=device, axis=axis or [],
                max_norm=max_norm, batch=batch, keep_special=keep_special, progress=not quiet,
            )  # fmt: skip
        out.print(found)

    @app.command()
    def report(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")],
        data: Annotated[
            str | None,
            typer.Argument(help="rows to look at; by default those that the run names"),
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option("-o", "--output", metavar="FILE.html", help="by default DIR/report.html"),
        ] = None,
    ) -> None:
        """Write a page that shows a run and what its latents mean: one file, no network.

        Of a dictionary on a language model's activations the features are computed first, unless
        they are there already (DIR/features).
        """
        from isthmus.pages.run_page import written

        with interruptible():
            place, missing = written(folder, output, X=data)
        size = place.stat().st_size / 1e6
        out.print(f"{escape(str(place))}: {size:.1f} MB; open it in a browser")
        if missing:  # said on stderr already
            raise typer.Exit(1)

    @app.command()
    def label(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run, or its features")],
        options: Annotated[
            list[str] | None, typer.Argument(metavar="[option=value]...", show_default=False)
        ] = None,
        method: Annotated[str, typer.Option(help="rules, endpoint or local")] = "rules",
        judge: Annotated[str | None, typer.Option(help="by default the method's own")] = None,
        scorers: Annotated[str, typer.Option(help="by comma; empty: none")] = "detection,fuzzing",
        latents: Annotated[str | None, typer.Option(help="such as 0-99,512")] = None,
        sample: Annotated[str, typer.Option(help="examples by deciles, or top ones")] = "deciles",
        examples: Annotated[int, typer.Option(min=2, help="for the explainer")] = 40,
        scored: Annotated[int, typer.Option(min=2, help="for the judge")] = 50,
        seed: Annotated[int, typer.Option(help="of what is drawn")] = 0,
        quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
    ) -> None:
        """Say in words what latents fire on, and score the words on examples kept apart.

        Rules need no other model; endpoint (any OpenAI-compatible one: model=, base_url=) and local
        (a transformers model: model=) do. Answers are kept, so the same command goes on.
        """
        from isthmus.cli import label as cli

        with interruptible():
            out.print(
                cli.run(
                    folder, method, parse([*(options or [])]), judge=judge, scorers=scorers,
                    latents=latents, sample=sample, examples=examples, scored=scored, seed=seed,
                    progress=not quiet,
                )
            )  # fmt: skip

    @app.command()
    def steer(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")],
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
        from isthmus.cli import steer as cli

        with interruptible():
            out.print(
                cli.run(
                    folder, prompt, add=add or [], clamp=clamp or [], scale=scale or [],
                    ablate=ablate or [], where_active=where_active, new=new, samples=samples,
                    temperature=temperature, seed=seed, data=data,
                )
            )  # fmt: skip
