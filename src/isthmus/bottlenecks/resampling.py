"""Dead latents that start anew, at rows that are rebuilt badly."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Clock, Part, Step
from isthmus.bottlenecks.dictionary_start import dictionary_of
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.bottlenecks.penalised import Penalised
from isthmus.bottlenecks.transcoder import pair
from isthmus.kernels import Preactivations

TIMES = 4
"""How often dead latents are resampled, at equal distances over the first half of a run."""
LENGTH = 0.2
"""Norm of a resampled encoder row, as a share of the living ones' mean norm."""


class Resampling(Part):
    """Resamples dead latents (Bricken et al. 2023, "Neuron resampling"): a part of a model.

    Of the rows of the step, one is drawn for each dead latent with a probability in proportion to
    the square of its squared error. Less the centre, and with norm 1, it becomes the latent's atom;
    the same direction with ``LENGTH`` times the mean norm of the living becomes its encoder row,
    and its bias is zero. A gated latent gets a size of its own anew, and a threshold is lowered so
    that the latent fires on its row. The optimiser forgets all these rows.

    Published: four times, 25,000 steps apart, latents dead that were silent for 12,500 steps, and
    the errors of 819,200 rows. Here: an eighth of the run apart, the last halfway; latents that the
    bottleneck's counter calls dead; and the rows of one step, as in the code that others published.
    An average of the weights forgets the old rows at its own pace.
    """

    @torch.no_grad()
    def after_update(
        self, *, model: Autoencoder, step: Step, optimiser: torch.optim.Optimizer
    ) -> None:
        """Resample, where the step is one of those that do."""
        if not is_due(step.clock) or step.batch is None:
            return
        counter = model.part_as("bottleneck.counter", FiringCounter, self)
        is_dead = counter.dead(step.clock)
        dead = is_dead.nonzero().flatten()
        if len(dead) in (0, len(is_dead)):
            return
        encoder, dictionary = dictionary_of(model)
        read, targets = pair(model, model.scaled(step.batch), len(step.batch))
        code = model.clean_code(step.batch)
        squares = (dictionary.decode(code).flatten(1) - targets).square().sum(1)
        chances = (squares / squares.max()).square()
        if not bool(chances.sum() > 0):  # nothing is left to explain
            return
        rows = torch.multinomial(chances, len(dead), replacement=True)
        living = ~is_dead
        tied = encoder.weight is dictionary.weight
        length = 1.0 if dictionary.unit else dictionary.weight[living].norm(dim=1).mean()
        dictionary.weight[dead] = length * F.normalize(targets[rows] - dictionary.bias, dim=1)
        centre = dictionary.bias if encoder.subtract_bias else read.mean(0)
        if not tied:
            mean = encoder.weight[living].norm(dim=1).mean()
            encoder.weight[dead] = LENGTH * mean * F.normalize(read[rows] - centre, dim=1)
        encoder.bias[dead] = 0.0 if encoder.subtract_bias else -(encoder.weight[dead] @ centre)
        bottleneck = model.bottleneck
        if isinstance(bottleneck, Penalised):
            h: Preactivations = encoder(read[rows], model=model)
            preactivations = h.dense()[torch.arange(len(dead), device=dead.device), dead]
            bottleneck.restart(dead, living, preactivations)
        counter.silent_rows[dead] = 0
        forget(
            optimiser, (*encoder.parameters(), dictionary.weight, *bottleneck.parameters()), dead
        )


def is_due(clock: Clock) -> bool:
    """Whether dead latents are resampled after a step."""
    apart = max(1, clock.total // (2 * TIMES))
    number, rest = divmod(clock.step + 1, apart)
    return rest == 0 and number <= TIMES


def forget(optimiser: torch.optim.Optimizer, weights: Iterable[nn.Parameter], rows: Tensor) -> None:
    """Set to zero what an optimiser remembers of some rows of weights."""
    for weight in weights:
        for memory in optimiser.state.get(weight, {}).values():
            if isinstance(memory, Tensor) and memory.shape == weight.shape:
                memory[rows] = 0.0
