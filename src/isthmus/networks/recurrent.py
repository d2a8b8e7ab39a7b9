"""Recurrent networks on sequences of tokens: an encoder, a decoder, and the symbol that ends a row.

Padding changes nothing: steps that the mask leaves out come after all others of their row, so no
state that counts has seen them. (Between batches of other sizes, matrix products still round
differently in their last bits.)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Batch, Ragged, Target, View
from isthmus.anatomy.ragged import lengths_of
from isthmus.errors import IsthmusError
from isthmus.networks.layers import sizes


class TokenEncoder(nn.Module):
    """An LSTM over tokens; its last state, mapped linearly: ``(rows, steps)`` to ``(rows, out)``.

    Tokens are int64, 0 to ``vocabulary - 1``. With a mask the last state is that of the row's own
    last step.
    """

    def __init__(
        self, vocabulary: int, out_dim: int, embedding: int = 64, hidden: int = 256, layers: int = 1
    ) -> None:
        super().__init__()
        sizes("embedding, hidden, layers", (embedding, hidden, layers))
        self.embed = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, out_dim)
        init_recurrent(self.lstm, self.head)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        states, _ = self.lstm(self.embed(x))
        if mask is None:
            return self.head(states[:, -1])
        rows = torch.arange(len(x), device=x.device)
        return self.head(states[rows, lengths_of(mask) - 1])


class TokenDecoder(nn.Module):
    """An LSTM that tells the next token, started by the latents ``(rows, latent_dim)``.

    It returns logits ``(rows, steps, classes)``. Where it sees the rows that the code is of (the
    ``view``), as in training and where rows are scored, its inputs are their true tokens, one step
    late, behind a start symbol; of these it forgets the share ``word_dropout`` while it is trained,
    each replaced by an unknown symbol (Bowman et al. 2016, section 3.1), so that it has to ask the
    latents. Without a view it generates from the latents alone, at most ``length`` tokens: the most
    probable one each time, or, with a ``temperature`` above 0 and a generator, drawn ones.

    Where rows ``end``, the last class is the symbol that says so; what comes after it is that
    symbol for certain. The logits of a token that was drawn say that token for certain.
    """

    def __init__(
        self,
        vocabulary: int,
        latent_dim: int,
        length: int,
        *,
        ends: bool = True,
        embedding: int = 64,
        hidden: int = 256,
        layers: int = 1,
        word_dropout: float = 0.0,
        temperature: float = 0.0,
    ) -> None:
        super().__init__()
        sizes("embedding, hidden, layers", (embedding, hidden, layers))
        self.vocabulary, self.length, self.ends = vocabulary, length, ends
        self.classes = vocabulary + ends
        self.start, self.unknown = vocabulary, vocabulary + 1
        self.word_dropout, self.temperature = word_dropout, temperature
        self.embed = nn.Embedding(vocabulary + 2, embedding)
        self.first = nn.Linear(latent_dim, 2 * layers * hidden)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, self.classes)
        init_recurrent(self.lstm, self.first)

    def forward(
        self,
        z: Tensor,
        *,
        view: View | None = None,
        batch: Batch | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if view is None:
            return self.generate(z, generator)
        rows = view.x if batch is None else batch.x  # the clean ones, whatever the encoder saw
        return self.teach(z, rows)

    def teach(self, z: Tensor, x: Tensor) -> Tensor:
        """Logits of every next token, given the true ones before it.

        ``x`` is int64 ``(rows, steps)``; z may have several draws of them, ``(draws * rows, ...)``.
        """
        if len(z) % len(x):
            raise IsthmusError(f"{len(z)} codes do not belong to {len(x)} rows: pass one for each")
        inputs = F.pad(x if self.ends else x[:, :-1], (1, 0), value=self.start)
        if self.training and self.word_dropout > 0.0:
            lost = torch.rand(inputs.shape, device=x.device) < self.word_dropout
            lost[:, 0] = False
            inputs = inputs.masked_fill(lost, self.unknown)
        states, _ = self.lstm(self.embed(inputs.repeat(len(z) // len(x), 1)), self._state(z))
        return self.head(states)

    def generate(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits of the tokens that are generated, ``(rows, steps, classes)``."""
        state, token = self._state(z), torch.full((len(z),), self.start, device=z.device)
        ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        all_logits = []
        for _ in range(self.length):
            seen, state = self.lstm(self.embed(token)[:, None], state)
            logits = self.head(seen[:, 0]).float()
            token = logits.argmax(-1)
            if self.temperature > 0.0 and generator is not None:
                chances = (logits / self.temperature).softmax(-1)
                token = torch.multinomial(chances, 1, generator=generator)[:, 0]
                logits = self._certain(token, logits)
            if self.ends:
                token = token.masked_fill(ended, self.vocabulary)
                logits = torch.where(ended[:, None], self._certain(token, logits), logits)
                ended = token == self.vocabulary
            all_logits.append(logits)
            if bool(ended.all()):
                break
        return torch.stack(all_logits, 1)

    def _state(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The first hidden state and cell, ``(layers, rows, hidden)``."""
        both = self.first(z).unflatten(1, (2, self.lstm.num_layers, -1))
        hidden, cell = both.permute(1, 2, 0, 3).contiguous()
        return hidden, cell

    @staticmethod
    def _certain(token: Tensor, logits: Tensor) -> Tensor:
        return torch.full_like(logits, -torch.inf).scatter(-1, token[:, None], 0.0)


def init_recurrent(lstm: nn.LSTM, *ends: nn.Linear) -> None:
    """Start an LSTM so that it remembers, and the linear maps at its ends so that they carry on.

    Recurrent weights are orthogonal, the others uniform by Glorot, biases zero but for 1 at the
    forget gates (Jozefowicz, Zaremba, Sutskever 2015). By PyTorch's own start a state halves at
    each step and the latents are a few hundredths, so that the decoder learns to do without them.
    """
    size = lstm.hidden_size
    for name, weight in lstm.named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.data.split(size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        else:
            nn.init.zeros_(weight)
            if name.startswith("bias_ih"):
                weight.data[size : 2 * size] = 1.0
    for end in ends:
        nn.init.xavier_uniform_(end.weight)
        nn.init.zeros_(end.bias)


class Ended(Target):
    """Rows of tokens with one more symbol, ``end``, behind their last; and back, cut before it."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self.end = end

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> View:
        rows, steps = x.shape
        lengths = x.new_full((rows,), steps) if mask is None else lengths_of(mask)
        longer = F.pad(x, (0, 1)).scatter(1, lengths[:, None], self.end)
        return View(longer, mask=torch.arange(steps + 1, device=x.device) <= lengths[:, None])

    def inverse(self, recon: Tensor) -> Ragged:
        """Ids ``(rows, steps)`` up to the first end, zeros after it; all where there is none."""
        goes_on = (recon != self.end).cumprod(1)
        return Ragged(recon * goes_on, goes_on.sum(1))
