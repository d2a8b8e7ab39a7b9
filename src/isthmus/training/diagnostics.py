"""What a fitted model should not be: said in one line at the end of a run, and in its page.

Looked at are at most ``ROWS`` rows of the training data, in evaluation mode. The thresholds are
ours; a run of fewer than ``LEAST_STEPS`` steps is not judged.

* **Posterior collapse**: more than half of the latents of a Gaussian code are inactive, that is the
  variance of their posterior means over the rows is below 0.01 (Burda, Grosse and Salakhutdinov,
  2016, arXiv:1509.00519).
* **Dead latents**: more than a fifth of a sparse code's latents have fired for no row of the last
  tenth of the run (at least 1,000 rows for every latent that a row has on average).
* **Constant outputs**: the variance of the reconstructions over the rows is below a thousandth of
  that of the data.
* **Nothing learnt**: the reconstructions explain less than 2 % of the variance of the data; of a
  model that rebuilds nothing, whose weights are constant, the last quarter of the logged loss is on
  average no lower than the first.

Beforehand, **an absurd plan**: by default more than ``PASSES`` passes over the rows in more than
``LONG`` steps.
"""

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isthmus import notices
from isthmus.anatomy import Constant, GaussianCode, evaluating
from isthmus.anatomy.code_kinds import AnySparseCode
from isthmus.errors import IsthmusError
from isthmus.training.seeding import seeded

if TYPE_CHECKING:
    from isthmus.training.run import Run

ROWS = 512
LEAST_STEPS = 50
INACTIVE = 1e-2
DEAD_SHARE = 0.2
CONSTANT = 1e-3
UNEXPLAINED = 0.98
PASSES = 200
LONG = 10_000


def check_plan(run: "Run") -> None:
    """Say what is planned where nobody asked for it and it is many times what the data call for."""
    size, rows = run.options.batch_size, len(run.source)
    passes = run.total * size / rows
    stops = any(leg.options.patience is not None for leg in run.legs)
    if stops or passes <= PASSES or run.total <= LONG:
        return
    notices.say(
        f"{run.total:,} steps of {size:,} rows are planned, {passes:,.0f} passes over the "
        f"{rows:,} rows: epochs=20 or steps={max(1, 20 * rows // size):,} would be 20 passes, and "
        "validation=0.1 patience=5 stops when nothing is gained any more"
    )


def look(run: "Run") -> None:
    """Say what is wrong with the model that a run has just ended with."""
    if run.total < LEAST_STEPS:
        return
    with contextlib.suppress(IsthmusError):  # of a model that cannot do this by itself
        _look(run)


@torch.no_grad()
def _look(run: "Run") -> None:
    model = run.model
    rows = run.batches.sample(ROWS).checked().to(run.device)
    with evaluating(model), seeded(run.device, run.options.seed, 9):
        code = model.clean_code(rows)
        _look_at_code(run, code)
        x = rows.x
        if model.decoder is None or model.target is not None or not _plain(x, rows.mask):
            _look_at_losses(run)
            return
        recon = model.rebuilt(rows)
    if isinstance(recon, Tensor) and recon.shape == x.shape:
        _look_at_outputs(x.double().flatten(1).cpu(), recon.double().flatten(1).cpu())


def _plain(x: Any, mask: Any) -> bool:
    return mask is None and isinstance(x, Tensor) and x.is_floating_point()


def _look_at_code(run: "Run", code: Any) -> None:
    if isinstance(code, GaussianCode) and code.mean.ndim == 2 and len(code.mean) > 1:
        idle = int((code.mean.double().var(0) < INACTIVE).sum())
        width = code.mean.shape[1]
        if 2 * idle > width:
            notices.say(
                f"posterior collapse: {idle} of {width} latents carry nothing (the variance of "
                "their means is below 0.01): lower the weight of the divergence or latent_dim"
            )
    if isinstance(code, AnySparseCode):
        silent = [b for n, b in run.model.named_buffers() if n.endswith("silent_rows")]
        if not silent:
            return
        width = silent[0].numel()
        active = max(1.0, code.matrix().nnz / len(code))
        enough = max(run.total * run.options.batch_size // 10, int(1000 * width / active) // 10)
        dead = int((silent[0] >= enough).sum())
        if dead > DEAD_SHARE * width:
            notices.say(
                f"{dead:,} of {width:,} latents are dead (none of the last {enough:,} rows used "
                "them): lower latent_dim or lr, or train longer"
            )


def _look_at_outputs(x: Tensor, recon: Tensor) -> None:
    spread = (x - x.mean(0)).square().sum()
    if not bool(recon.isfinite().all()):
        notices.say(
            "in evaluation the model returns NaN or infinity for rows of the training data, though "
            "its losses were finite: look at what its parts do otherwise than in training"
        )
        return
    if float(spread) == 0.0 or len(x) < 2:
        return
    varies = float((recon - recon.mean(0)).square().sum() / spread)
    left = float((recon - x).square().sum() / spread)
    if varies < CONSTANT:
        notices.say(
            "the outputs are constant: whatever the row, the same is rebuilt (look at the scaling "
            "of the data, lower lr or the weights of the penalties)"
        )
    elif not left < UNEXPLAINED:
        notices.say(
            f"nothing was learnt: the reconstructions leave {left:.3g} of the variance "
            "unexplained, where their mean leaves 1 (train longer, change lr, or look at the data)"
        )


def _look_at_losses(run: "Run") -> None:
    objective = run.model.objective
    fixed = all(isinstance(part.weight, Constant) for part in objective)
    if not fixed or len(objective.players) != 1 or run.model.stages:
        return
    losses = [record["loss"] for record in run.history if "loss" in record]
    last = losses[-max(1, len(losses) // 4) :]
    if len(losses) >= 8 and sum(last) / len(last) >= losses[0]:
        notices.say(
            f"the loss never fell: it was {losses[0]:.4g} at first and {losses[-1]:.4g} at the end "
            "(change lr, train longer, or look at the data)"
        )
