"""Several processes, called ranks, that train one model together over ``torch.distributed``."""

from isthmus.ranks.largest import anywhere, cut_among, dealt, kth_largest, lowest
from isthmus.ranks.latents_held import Shard, counted, holding, once, shard_held, summed
from isthmus.ranks.processes import (
    RankLost,
    RanksFailed,
    RanksInterrupted,
    Team,
    exchanging,
    in_environment,
    is_one_process,
    of_environment,
    team,
    told_in,
)

__all__ = [
    "RankLost",
    "RanksFailed",
    "RanksInterrupted",
    "Shard",
    "Team",
    "anywhere",
    "counted",
    "cut_among",
    "dealt",
    "exchanging",
    "holding",
    "in_environment",
    "is_one_process",
    "kth_largest",
    "lowest",
    "of_environment",
    "once",
    "shard_held",
    "summed",
    "team",
    "told_in",
]
