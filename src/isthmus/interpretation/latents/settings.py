"""How much is kept of each latent."""

from dataclasses import dataclass

from isthmus.errors import IsthmusError
from isthmus.interpretation.latents.windows import Span


@dataclass(frozen=True)
class Settings:
    """Numbers of what is kept; memory grows with them.

    top
        Strongest examples of a latent.
    each
        Most examples of every decile of its activations.
    before, after
        Tokens shown around an example.
    listed
        Tokens, neighbours and logits that are listed.
    windows
        Random windows that are kept with all that fires in them.
    seed
        Of every random choice.
    """

    top: int = 16
    each: int = 5
    before: int = 15
    after: int = 8
    listed: int = 10
    windows: int = 1536
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("top", "each", "listed", "windows"):
            if getattr(self, name) < 1:
                raise IsthmusError(f"{name} = {getattr(self, name)} keeps nothing: pass 1 or more")
        if self.before < 0 or self.after < 0:
            raise IsthmusError("a window cannot show fewer than no tokens: pass 0 or more")

    @property
    def span(self) -> Span:
        return Span(self.before, self.after)
