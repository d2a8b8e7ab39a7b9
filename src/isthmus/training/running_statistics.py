"""Running statistics of normalisation layers move once a step, however often a layer is called."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


class OncePerStep:
    """While entered, each layer's running statistics follow its first call only.

    Players, accumulated parts and terms that call a network again would move them several times a
    step, the more often the more of them there are.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self.layers = layers
        self._handles = [layer.register_forward_hook(self._called) for layer in layers]
        self._inside = False

    def _called(self, layer: Any, *_: Any) -> None:
        if self._inside and layer.training:
            # In training a layer that does not track still normalises by the batch.
            layer.track_running_stats = False

    def __enter__(self) -> None:
        self._inside = True

    def __exit__(self, *_: Any) -> None:
        self._inside = False
        for layer in self.layers:
            layer.track_running_stats = True

    def release(self) -> None:
        """Leave the layers as they were."""
        for handle in self._handles:
            handle.remove()
