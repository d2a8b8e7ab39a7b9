"""Several processes, called ranks, that train one model together over ``torch.distributed``."""

from isthmus.ranks.largest import anywhere, cut_among, dealt, kth_largest, lowest
from isthmus.ranks.latents_held import Shard, counted, holding, once, shard_held, summed

__all__ = [
    "Shard",
    "anywhere",
    "counted",
    "cut_among",
    "dealt",
    "holding",
    "kth_largest",
    "lowest",
    "once",
    "shard_held",
    "summed",
]
