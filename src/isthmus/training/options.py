"""The options of a run; every recipe shares them, with its own published defaults."""

import fnmatch
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class ParameterGroup(BaseModel):
    """Settings for the parameters whose name matches a pattern such as ``encoder.*``.

    With ``ndim``, only for those of so many axes: 1 are biases and normalisation. ``lr``
    multiplies the run's learning rate; the other settings replace the run's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: str = "*"
    ndim: int | None = None
    lr: float = 1.0
    weight_decay: float | None = None

    def covers(self, name: str, parameter: Tensor) -> bool:
        """Whether a parameter of that name belongs to the group."""
        fits = self.ndim is None or parameter.ndim == self.ndim
        return fits and fnmatch.fnmatch(name, self.match)

    def __str__(self) -> str:
        return repr(self.match) + ("" if self.ndim is None else f" of {self.ndim} axes")


class TrainingOptions(BaseModel):
    """How to train. The same names serve Python, the command line and the configuration file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    steps: Annotated[int, Field(gt=0)] | None = Field(
        None, description="optimiser steps, exactly; wins over epochs"
    )
    epochs: Annotated[float, Field(gt=0)] | None = Field(
        None, description="passes over the data, exactly"
    )
    length: Literal["auto", "published"] = Field(
        "auto",
        description="auto: sizes that suit the data, and an end where nothing is gained any more; "
        "published: as the page says",
    )
    minutes: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="time for the fit, by steps that are timed at its start; schedules shrink",
    )
    batch_size: Annotated[int, Field(gt=0)] = Field(128, description="rows per optimiser step")
    lr: Annotated[float, Field(gt=0)] = Field(1e-3, description="learning rate")
    lr_batch: Annotated[int, Field(gt=0)] | None = Field(
        None,
        description="batch size that lr is stated for: the rate is lr batch_size / lr_batch "
        "(none: lr as it is)",
    )
    optimiser: str = Field(
        "adam", description="adam, adamw, sgd, lars, or the name of any class in torch.optim"
    )
    optimiser_options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimiser class"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="weight decay")
    groups: tuple[ParameterGroup, ...] = Field(
        (), description="settings for parameters by name pattern"
    )
    lr_schedule: Literal[
        "constant",
        "linear",
        "cosine",
        "burda",
        "half-exponential",
        "last-fifth",
        "cool-down",
        "two-halvings",
    ] = Field("constant", description="how the learning rate falls over the run")
    warmup: Annotated[int, Field(ge=0)] = Field(
        0, description="steps over which the learning rate rises from zero"
    )
    clip: Annotated[float, Field(gt=0)] | None = Field(
        None, description="largest norm of the gradient of one player"
    )
    clip_value: Annotated[float, Field(gt=0)] | None = Field(
        None, description="largest size of any one number of a gradient, cut before its norm is"
    )
    accumulate: Annotated[int, Field(gt=0)] = Field(
        1, description="parts into which a batch is cut to save memory"
    )
    average: Share | None = Field(
        None, description="decay of the weight average that the run ends with"
    )
    precision: Literal["32", "bf16"] = Field("32", description="32, or bf16 for mixed precision")
    compile: bool = Field(False, description="torch.compile the encoder and the decoder")
    validation: Share = Field(0.0, description="share of the rows held out for validation")
    validate_every: Annotated[int, Field(gt=0)] | None = Field(
        None, description="steps between validations (an epoch by default)"
    )
    patience: Annotated[int, Field(gt=0)] | None = Field(
        None, description="stop after so many validations without improvement; keep the best"
    )
    min_gain: Share = Field(
        0.0,
        description="part of what was gained so far that counts as an improvement for patience",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of everything random")
    data_seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="seed of the held-out part and the order of the rows (none: seed)"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    log_every: Annotated[int, Field(gt=0)] = Field(50, description="steps between log records")
    save_every: Annotated[int, Field(gt=0)] | None = Field(
        None, description="steps between checkpoints (every minute by default)"
    )
    tensorboard: bool = Field(False, description="also write TensorBoard events")

    @property
    def peak_lr(self) -> float:
        """The learning rate at this batch size, before warm-up and schedule."""
        return self.lr if self.lr_batch is None else self.lr * self.batch_size / self.lr_batch

    @property
    def order_seed(self) -> int:
        """What the choice and the order of the rows depend on."""
        return self.seed if self.data_seed is None else self.data_seed

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the run in steps."""
        if self.steps is not None:
            return self.steps
        return max(1, round((self.epochs or 10.0) * steps_per_epoch))
