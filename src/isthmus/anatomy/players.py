"""Who trains what, and when: players that step in turn, and stages that follow one another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from torch import nn

from isthmus.anatomy.batch import MODEL
from isthmus.anatomy.objective import Objective, Term
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder


@dataclass(frozen=True)
class Player:
    """Whose turn it is to train what.

    ``parts`` are patterns of parameter names (``"critics.critic.*"``; a name stands for all that
    is below it); those that no player but the model names are the model's. ``optimiser``,
    ``optimiser_options``, ``lr`` and ``weight_decay`` replace the run's where they are given. The
    player steps in every ``every``-th step of the run, ``steps`` times on the same rows with fresh
    draws. A player that shall see fresh rows each time, as the critic of a Wasserstein GAN does,
    steps in every step while the others step in every fifth.
    """

    name: str
    parts: tuple[str, ...] = ()
    optimiser: str | None = None
    optimiser_options: Mapping[str, Any] | None = None
    lr: float | None = None
    weight_decay: float | None = None
    every: int = 1
    steps: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or self.steps < 1:
            raise IsthmusError(
                f"the player {self.name!r} has every={self.every} and steps={self.steps}: both are "
                "counts, 1 or more"
            )

    def owns(self, parameter: str) -> bool:
        """Whether a parameter of that name is the player's."""
        return any(covers(pattern, parameter) for pattern in self.parts)


@dataclass(frozen=True)
class Stage:
    """A fit of its own within a run, with what earlier stages trained held fixed.

    ``trains`` are patterns of parameter names, as :class:`Player` has them; everything else rests:
    it is not updated, and parts of which nothing is trained are in evaluation mode meanwhile. A
    part without parameters that learns by what it observes is named in the same way. ``share`` is
    the stage's part of the run's steps, relative to the others'. ``options`` replace training
    options: lr, optimiser, lr_schedule, warmup, average, patience, ...; their steps are counted
    from the stage's first.
    """

    name: str
    objective: Objective | Term
    trains: tuple[str, ...]
    share: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    players: tuple[Player, ...] = ()

    def __post_init__(self) -> None:
        trains = (self.trains,) if isinstance(self.trains, str) else tuple(self.trains)
        object.__setattr__(self, "trains", trains)
        if not trains:
            raise IsthmusError(
                f"the stage {self.name!r} trains nothing: name parts in trains=(...)"
            )
        if not (self.share > 0 and math.isfinite(self.share)):
            raise IsthmusError(
                f"the stage {self.name!r} has share={self.share:g}: a share of the steps is a "
                "number above 0"
            )


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern covers a name: itself, what lies below it, or as a shell pattern."""
    whole = pattern.removesuffix(".*")  # what covers all that is below a module is that module's
    below = name == whole or name.startswith(whole + ".")
    return below or fnmatchcase(name, whole) or fnmatchcase(name, pattern)


def owner_of(name: str, players: Sequence[Player]) -> str:
    """Whose a parameter or module is; of a critic's network what no player names is not the
    model's, which would train it to please: it is the critic's, or nobody's ("")."""
    for player in players:
        if name and player.owns(name):
            return player.name
    critic = name.removeprefix("critics.")
    if critic == name:
        return MODEL
    owner = critic.split(".")[0]
    return "" if any(player.name == owner for player in players) else owner


def owners(
    model: "Autoencoder", players: Sequence[Player], trains: Sequence[str] | None = None
) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """The parameters of each player, by name; with ``trains`` only those that it covers.

    An error for a pattern that matches nothing: neither a parameter nor a part that learns without
    any, by what it observes.
    """
    groups: dict[str, list[tuple[str, nn.Parameter]]] = {player.name: [] for player in players}
    for name, parameter in model.named_parameters():
        if trains is not None and not any(covers(pattern, name) for pattern in trains):
            continue
        owner = owner_of(name, players)
        if owner in groups:
            groups[owner].append((name, parameter))
    names = [name for name, _ in (*model.named_parameters(), *model.named_modules()) if name]
    for pattern in trains or ():
        if not any(covers(pattern, name) for name in names):
            raise IsthmusError(
                f"{pattern!r} is to be trained and matches no part: the names begin with "
                + ", ".join(sorted({n.split(".")[0] for n, _ in model.named_parameters()}))
            )
    return groups


def default_players(
    objective: Objective, critics: Sequence[str], given: Sequence[Player] = ()
) -> list[Player]:
    """The players of an objective in the order of its terms, those that were not given by default.

    A critic owns its network; an error for a player whose name no part and no player has.
    """
    by_name = {player.name: player for player in given}
    for player in given:
        if player.name not in objective.players:
            raise IsthmusError(
                f"the player {player.name!r} has no term in the objective: give a term "
                f"player={player.name!r}"
            )
    players = []
    for name in objective.players:
        player = by_name.get(name, Player(name))
        if name != MODEL and not player.parts:
            if name not in critics:
                raise ValueError(f"no critic is named {name!r}, but a term is its")
            player = Player(**{**vars(player), "parts": (f"critics.{name}",)})
        players.append(player)
    return players


def modules_of(
    model: nn.Module, player: str, players: Sequence[Player]
) -> Iterator[tuple[str, nn.Module]]:
    """The modules of one player: those of the others are the model's."""
    for name, module in model.named_modules():
        if owner_of(name, players) == player:
            yield name, module
