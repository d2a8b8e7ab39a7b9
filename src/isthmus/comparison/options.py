"""What a comparison may be told of its budget, checked before anything is read or fitted."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

BATCH_SIZE = 256
"""Rows of a batch, where nothing is said."""
Count = Annotated[int, Field(gt=0)]


class BudgetOptions(BaseModel):
    """The numbers that :func:`isthmus.comparison.compare` takes, each under its own name there."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seeds: Count
    steps: Count | None
    batch_size: Count
    latents: Count | None
    width: Count | None
    minutes: Annotated[float, Field(gt=0)] | None
    clusters: Annotated[int, Field(gt=1)] | None
