"""Token rows through a language model."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from isthmus.activations.feed import Kept
from isthmus.activations.gradients import loss_gradients
from isthmus.activations.hooks import Activations
from isthmus.activations.points import Side
from isthmus.activations.text_layout import Layout, layouts
from isthmus.activations.token_feed import TokenFeed
from isthmus.anatomy import evaluating
from isthmus.errors import IsthmusError
from isthmus.language import Decoder, LanguageModel, Tokens
from isthmus.language.calling import alike, call_arguments, is_encoder_decoder, takes_mask
from isthmus.language.padding import packed
from isthmus.notices import say

PROBED = (2, 3)
"""Rows and places of the pass that the shapes are read from."""


class TextFeed(TokenFeed):
    """Token rows through a language model.

    Padding is left out, and with ``skip_special`` also the tokens that stand for no text: the
    activations at a beginning-of-sequence token have norms far beyond all others. A token's
    activation is that of its row's tokens alone, wherever padding is and whatever else is in the
    batch (see :mod:`isthmus.language.calling`). A point that ends in ``:gradient`` gives the loss's
    gradient with respect to the activation there (:mod:`isthmus.activations.gradients`). At every
    point the model must give one vector for each token of each row; on which axes is found in a
    pass over a few tokens.
    """

    def __init__(
        self,
        host: LanguageModel,
        tokens: Tokens,
        at: str | Sequence[str],
        side: Side = "output",
        skip_special: bool = True,
    ) -> None:
        super().__init__(host, tokens, skip_special)
        self.host: LanguageModel = host
        self.model = host.module
        self.acts = Activations(host.module, at, side)
        self.points = self.acts.points
        self._gradients = any(place.is_gradient for place in self.acts.places)
        if self._gradients and (not host.causal or is_encoder_decoder(host.module)):
            raise IsthmusError(
                f"gradients are those of the next token's loss, and {host.name} predicts none: "
                "leave out the points that end in :gradient"
            )
        self._check_numbers()
        # What cannot be told of padding has rows of different lengths go through it apart; whether
        # what is told heeds it is looked at in the first batch that has some.
        self._apart: bool | None = True if not (host.causal or takes_mask(self.model)) else None
        if isinstance(self.model, Decoder):
            self._apart = False
        first = int(self.counts.argmax())
        row = tokens.ids[first][tokens.mask[first]]
        self._layouts = self._found_layouts(row)
        self.axes = {point: layout.features for point, layout in self._layouts.items()}
        if is_encoder_decoder(self.model) and any("decoder" in point for point in self.points):
            say(
                f"{host.name} writes what it reads: its decoder gets the same text, one place "
                "later behind its start token, so that a place of the decoder is about to write "
                "the token of that place"
            )

    def settle(self, batches: Iterable[Tensor]) -> None:
        if self._apart is not None:
            return
        lengths = self.tokens.mask.sum(1)
        for rows in batches:
            if int(lengths[rows].min()) < int(lengths[rows].max()):
                self.run(rows)
                return

    def run(self, rows: Tensor) -> Kept:
        ids, visible, order = packed(self.tokens.ids[rows], self.tokens.mask[rows])
        keep = self.keep[rows].gather(1, order) & visible
        padded = not bool(visible.all())
        tensors = self._held(ids, visible, keep)
        if padded and self._apart is None:
            self._apart = self._minds_padding(ids, visible, keep, tensors)
            if self._apart:
                tensors = self._held(ids, visible, keep)
        row, place = keep.nonzero(as_tuple=True)
        return Kept(tensors, rows[row], order[row, place])

    def _held(self, ids: Tensor, visible: Tensor, keep: Tensor) -> dict[str, Tensor]:
        """What is kept of packed rows ``(rows, long)``, token by token, on the CPU."""
        if not self._apart or bool(visible.all()):
            return self._pass(ids, visible, keep)
        number = torch.full(keep.shape, -1)
        number[keep] = torch.arange(int(keep.sum()))
        out: dict[str, Tensor] = {}
        for rows in alike(visible):
            long = int(visible[rows[0]].sum())
            if not long or not bool(keep[rows].any()):
                continue
            mine = keep[rows, :long]
            tensors = self._pass(ids[rows, :long], visible[rows, :long], mine)
            for point, values in tensors.items():
                if point not in out:
                    out[point] = values.new_empty(int(keep.sum()), values.shape[1])
                out[point][number[rows, :long][mine]] = values
        return out

    def _pass(self, ids: Tensor, visible: Tensor, keep: Tensor) -> dict[str, Tensor]:
        tensors = self._tensors(ids, visible)
        places = keep.flatten().nonzero().flatten()
        values = {}
        for point, tensor in tensors.items():
            flat = self._layouts[point].by_place(point, tensor, *ids.shape).flatten(0, 1)
            values[point] = flat.index_select(0, places.to(flat.device)).cpu()
        return values

    def _tensors(self, ids: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """What a pass over packed rows holds at each point."""
        device = self.host.device
        # A mask of nothing but ones would cost attention its fastest path.
        mask = None if bool(visible.all()) else visible.to(device)
        args, kwargs = call_arguments(self.model, ids.to(device), mask)
        with evaluating(self.model, gradients=True):
            if self._gradients:
                return loss_gradients(self.model, self.acts.places, ids, visible, args, kwargs)
            return self.acts(*args, **kwargs)

    def _minds_padding(
        self, ids: Tensor, visible: Tensor, keep: Tensor, tensors: dict[str, Tensor]
    ) -> bool:
        """Whether a padded row has other activations than the same row alone."""
        lengths = visible.sum(1)
        short = int(torch.where(keep.any(1), lengths, lengths.max() + 1).argmin())
        long = int(lengths[short])
        mine = keep[short : short + 1, :long]
        if long == ids.shape[1] or not bool(mine.any()):
            return False
        alone = self._pass(ids[short : short + 1, :long], visible[short : short + 1, :long], mine)
        begin = int(keep[:short].sum())
        half = self.host.dtype in ("float16", "bfloat16")
        for point, values in alone.items():
            together = tensors[point][begin : begin + len(values)].double()
            apart = float((together - values.double()).norm())
            if apart > (0.1 if half else 1e-3) * max(float(values.double().norm()), 1e-30):
                say(
                    f"{self.host.name} gives other activations at {point!r} where a row is padded, "
                    "so rows of different lengths go through it apart"
                )
                return True
        return False

    def _found_layouts(self, row: Tensor) -> dict[str, Layout]:
        def shapes(rows: int, places: int) -> dict[str, tuple[int, ...]]:
            repeated = row.repeat(1 + places // len(row))[:places]
            ids = repeated.expand(rows, places).contiguous()
            tensors = self._tensors(ids, torch.ones_like(ids, dtype=torch.bool))
            return {point: tuple(tensor.shape) for point, tensor in tensors.items()}

        by_point, self.widths = layouts(shapes, self.places)
        return by_point

    def _check_numbers(self) -> None:
        """An error for a token that the model has no embedding of."""
        embedding = getattr(self.model, "get_input_embeddings", lambda: None)
        try:
            vocabulary = getattr(embedding(), "num_embeddings", None)
        except (NotImplementedError, AttributeError):  # of transformers, where there is none
            return
        mask = self.tokens.mask
        if vocabulary is None:
            return
        low, high = (int(x) for x in torch.aminmax(self.tokens.ids[mask]))
        if low < 0 or high >= vocabulary:
            raise IsthmusError(
                f"the text has the token {low if low < 0 else high}, and {self.host.name} knows "
                f"{vocabulary} tokens: pass tokens of its own tokenizer"
            )
