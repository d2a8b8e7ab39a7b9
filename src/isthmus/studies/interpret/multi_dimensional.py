"""Multi-dimensional features: circles that answer when they are moved, and that an index finds."""

# About 1.5 CPU minutes a seed: the transformer 1500 steps of 8 ms, the dictionary 6000 of 6 ms.

from dataclasses import dataclass

import numpy as np
import torch

from isthmus.evaluation import Result
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, quantity, value
from isthmus.studies.interpret import modular, planted_circles
from isthmus.studies.interpret.modular import CYCLES, Circle, Questions

MODULAR_STEPS, ASKED = 1500, 2000

MOVED = tuple(f"moved_answers_{cycle}" for cycle in CYCLES)
R2 = tuple(f"r2_{cycle}" for cycle in CYCLES)

Measured = dict[str, float | Result]


@experiment(
    "multi-dimensional-features",
    family="interpret",
    catalogue=45,
    paper="Engels, Michaud, Liao, Gurnee, Tegmark 2024, Not All Language Model Features Are Linear",
    statement="Some features are circles and not lines: setting an activation to another day on "
    "the circle alone gives the answer of that day in modular arithmetic, and an index of "
    "irreducibility finds circles among the clusters of a dictionary's latents.",
    headline="No number in the abstract. Circles of days, months and years are found in GPT-2 and "
    "Mistral 7B, and edits of them change answers about days and months in Mistral 7B and Llama 3 "
    "8B.",
    setting="A transformer of one layer and width 64, trained from scratch for 1500 steps on (day "
    "+ offset) mod 7 and (month + offset) mod 12, offsets from 1 to 12, eight spellings of each "
    "day and month, answers heard off by a binomial number of days (standard deviation 1), which "
    "makes neighbouring days alike as they are in text. A probe of cosine and sine in the first "
    "five principal components of the residual stream before the layer, where the day stands, "
    "fitted on four spellings; measured and edited on the others, days and months averaged. Of "
    "the circle's frequencies that tell all days apart the best fitting is taken. An edit puts "
    "another day on the circle and the mean everywhere else. Index: planted data in 64 "
    "dimensions, 100 line features in 25 groups of related directions (cosine 0.7), in 13 of "
    "which one is on at a time, and three circles of 7, 12 and 24 points; TopK with k = 4, width "
    "512, 6000 steps of 1024 rows. Clusters are connected groups of latents, each joined to its "
    "two nearest at a cosine above 0.5; indices are of the first two principal components of what "
    "a cluster rebuilds in the rows where it fires.",
    recipes=("topk",),
    seeds=8,
    arms={
        "circle": "another day on the circle, the mean everywhere else",
        "average": "the mean activation everywhere",
        "full patch": "positive control: the whole activation of a row that asks about that day",
        "random plane": "control: the circle's edit in a random plane, of the same norm",
        "wrong order": "the probe and the edit with the days in an order drawn at random",
        "untrained network": "the probe in the transformer before training",
        "by index": "planted clusters ranked by (1 - mixture) times separability",
        "by size": "the same clusters ranked by their number of latents",
        "without shape": "each circle's points exchanged for Gaussian ones of the same "
        "covariance, ranked by the index among the other clusters",
        "untrained dictionary": "the clusters of the dictionary before training, by the index",
    },
    primary=Primary(
        less(MOVED, "circle", than="average").named(
            "share of answers as for the other day after the circle is set to it, less that after "
            "the mean activation is put there"
        ),
        above=0.0,
        positive=less(MOVED, "full patch", than="average"),
        negative=less(MOVED, "random plane", than="average"),
    ),
    premises=tuple(
        Premise(
            value(f"accuracy_{cycle}", "circle"), above=0.95,
            why="the transformer has to be able to count",
        )
        for cycle in CYCLES
    ),
    secondary=(
        Secondary(less(R2, "circle", than="wrong order"), above=0.0),
        Secondary(less(R2, "circle", than="untrained network"), above=0.0),
        Secondary(
            quantity(
                "answers moved by the circle, as a share of those moved by the full patch",
                lambda f: sum(f["circle"][n] for n in MOVED)
                / sum(f["full patch"][n] for n in MOVED),
            ),
            above=0.8, source="ours", place="nearly all that the whole activation does",
        ),
        Secondary(less("percentile", "by index", than="by size"), above=0.0),
        Secondary(less("percentile", "by index", than="without shape"), above=0.0),
        Secondary(
            value("resolved", "by index"), above=0.9, source="ours",
            place="circles can be found where each of their points has a latent",
        ),
    ),
)  # fmt: skip
def multi_dimensional(trial: Trial) -> dict[str, Measured]:
    """The circles of a network that counts days and months, and planted ones."""
    return _modular(trial) | planted_circles.by_index(trial)


@dataclass(frozen=True)
class Task:
    """Questions that probes are fitted on, others, and those about another day each."""

    seen: Questions
    asked: Questions
    donor: Questions

    @classmethod
    def of(cls, cycle: str, generator: torch.Generator) -> "Task":
        half = modular.SPELLINGS // 2
        seen, held = (
            modular.questions(cycle, ASKED, generator, spellings)
            for spellings in (range(half), range(half, 2 * half))
        )
        shift = torch.randint(1, held.size, (ASKED,), generator=generator)
        return cls(seen, held, held.about((held.day + shift) % held.size))


def _modular(trial: Trial) -> dict[str, Measured]:
    arms = ("circle", "average", "full patch", "random plane", "wrong order", "untrained network")
    figures: dict[str, Measured] = {arm: {} for arm in arms}
    model = modular.trained(trial.steps(MODULAR_STEPS), trial.seed, modular.SPREAD)
    early = modular.untrained(trial.seed)
    for number, cycle in enumerate(CYCLES):
        task = Task.of(cycle, torch.Generator().manual_seed(100 * trial.seed + number))
        held, to = task.asked, task.donor.day.numpy()
        rng = np.random.default_rng([trial.seed, number])
        order = rng.permutation(held.size)
        plane = np.linalg.qr(rng.standard_normal((modular.SHAPE.width, 2)))[0].T
        x, new = (modular.days_of(model, one) for one in (task.seen, held))
        day, now = task.seen.day.numpy(), held.day.numpy()
        circle = Circle.fit(x, day, held.size)
        wrong = Circle.fit(x, order[day], held.size)
        edits = {
            "circle": circle.only(to),
            "average": modular.replaced(np.broadcast_to(circle.mean, new.shape).copy()),
            "full patch": modular.replaced(modular.days_of(model, task.donor)),
            "random plane": circle.only(to, plane),
            "wrong order": wrong.only(order[to]),
        }
        for arm, edit in edits.items():
            moved = modular.accuracy(model, held, task.donor.day, edit)
            figures[arm][f"moved_answers_{cycle}"] = moved
        figures["circle"] |= {
            f"accuracy_{cycle}": modular.accuracy(model, held, held.day),
            f"r2_{cycle}": circle.r2(new, now),
            f"frequency_{cycle}": float(circle.frequency),
            f"variance_{cycle}": circle.share(new),
            f"rest_kept_{cycle}": modular.accuracy(
                model, held, task.donor.day, circle.moved(to, new)
            ),
        }
        figures["wrong order"][f"r2_{cycle}"] = wrong.r2(new, order[now])
        x, new = (modular.days_of(early, one) for one in (task.seen, held))
        figures["untrained network"][f"r2_{cycle}"] = Circle.fit(x, day, held.size).r2(new, now)
    return figures
