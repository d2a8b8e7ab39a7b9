"""The end of a run, for its parts: the weights are final."""

import torch

from isthmus.anatomy import Autoencoder, Source, ask
from isthmus.anatomy.part import parts_with
from isthmus.errors import IsthmusError
from isthmus.training.seeding import seeded


def tell_finished(model: Autoencoder, source: Source, device: torch.device, seed: int) -> None:
    """Tell the parts that the weights are final: tables, thresholds, calibration."""
    parts = list(parts_with(model, "finish"))
    if not parts:
        return
    model.eval()
    before = {name: t.shape for name, t in model.state_dict().items()}
    with seeded(device, seed, 7), torch.no_grad():
        for part in parts:
            ask(part.finish, model, source)
    after = {name: t.shape for name, t in model.state_dict().items()}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise IsthmusError(
                f"finish() changed {name} from {_shape(before.get(name))} to "
                f"{_shape(after.get(name))}, which no model that is built anew could load: "
                "register it with the shape that it ends with"
            )


def _shape(shape: torch.Size | None) -> str:
    return "nothing" if shape is None else f"shape {tuple(shape)}"
