"""What a run tells to those who listen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import MissingExtra

if TYPE_CHECKING:
    from isthmus.training.run import Run

Record = dict[str, Any]


class Callback:
    """Subclass and override what you need; each method gets the run."""

    def on_start(self, run: "Run") -> None:
        """Before the first step of this process."""

    def on_step(self, run: "Run", step: int) -> None:
        """After every optimiser step."""

    def on_log(self, run: "Run", record: Record) -> None:
        """When a record goes to ``metrics.jsonl``."""

    def on_save(self, run: "Run", folder: Path) -> None:
        """After a checkpoint is in place."""

    def on_end(self, run: "Run") -> None:
        """After the last step, also when the run stopped early or failed."""


class TensorBoard(Callback):
    """Writes every record as TensorBoard scalars under ``folder``."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("tensorboard", "tensorboard", "the TensorBoard log") from None
        self.writer = SummaryWriter(str(folder))

    def on_log(self, run: "Run", record: Record) -> None:
        for name, value in record.items():
            if isinstance(value, (int, float)) and name != "step":
                self.writer.add_scalar(name, value, record["step"])

    def on_end(self, run: "Run") -> None:
        self.writer.close()
