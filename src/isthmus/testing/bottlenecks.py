"""The contracts of a bottleneck: any module ``(h, *, sample=False) -> Code``."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import Code
from isthmus.testing.checks import Check, run_all

ROWS = 7
"""Unlike most sizes of layers, so that the row axis is unmistakable."""


def check_bottleneck(
    bottleneck: nn.Module, width_in: int | None = None, *, h: Tensor | None = None
) -> None:
    """Check that a bottleneck keeps the contracts of :func:`bottleneck_checks`.

    It is given ``h``, or standard normal rows ``(7, width_in)``; the bottleneck itself is left as
    it is. Raises ``AssertionError`` with a sentence that says what is broken and what to do.
    """
    run_all(bottleneck_checks(bottleneck, width_in, h=h))


def bottleneck_checks(
    bottleneck: nn.Module, width_in: int | None = None, *, h: Tensor | None = None
) -> list[Check]:
    """The checks of :func:`check_bottleneck`, each by itself, for test runners.

    - *code*: it returns a :class:`~isthmus.anatomy.Code` with a finite ``z``, the rows first
    - *deterministic*: without ``sample`` the same code twice
    - *rows*: in evaluation a row's code depends on no other row, nor on the batch being doubled
    - *stored*: the code's ``tensors`` have the rows first, and ``join`` puts batches together
    - *gradient*: on the training path a finite gradient reaches ``h``
    - *state*: all that training changes is in ``state_dict``
    - *evaluation*: an evaluation changes no buffer
    """
    if h is None:
        if width_in is None:
            raise ValueError("check_bottleneck needs width_in, or rows h that the bottleneck reads")
        h = torch.randn(ROWS, width_in, generator=torch.Generator().manual_seed(0))
    name = type(bottleneck).__name__
    checks: dict[str, Callable[[str, nn.Module, Tensor], None]] = {
        "code": _code,
        "deterministic": _deterministic,
        "rows": _rows,
        "stored": _stored,
        "gradient": _gradient,
        "state": _state,
        "evaluation": _evaluation,
    }
    return [
        Check(name, what, functools.partial(_run, check, name, bottleneck, h))
        for what, check in checks.items()
    ]


def _run(check: Any, name: str, bottleneck: nn.Module, h: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        check(name, copy.deepcopy(bottleneck), h.clone())


def _evaluated(bottleneck: nn.Module, h: Tensor) -> Code:
    bottleneck.eval()
    with torch.no_grad():
        code: Code = bottleneck(h, sample=False)
    return code


def _code(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    code = _evaluated(bottleneck, h)
    assert isinstance(code, Code), (
        f"{name} returns a {type(code).__name__}: return a Code, as isthmus.anatomy.Code(z)"
    )
    assert code.z.shape[0] == len(h), (
        f"{name} gives z of shape {tuple(code.z.shape)} for {len(h)} rows: without sample the rows "
        "come first"
    )
    assert bool(torch.isfinite(code.z).all()), f"{name} gives NaN or infinity for normal rows"
    sampled = bottleneck.train()(h, sample=True)
    rows = sampled.z.shape[0 if sampled.samples is None else 1]
    assert rows == len(h), (
        f"{name} gives z of shape {tuple(sampled.z.shape)} for {len(h)} rows: the rows come first, "
        "or after a sample axis that samples counts"
    )


def _deterministic(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    first, second = (_evaluated(bottleneck, h).z for _ in range(2))
    assert torch.equal(first, second), (
        f"{name} gives another code the second time: draw only where sample is true"
    )


def _rows(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    whole = _evaluated(bottleneck, h).z
    for alone, reference in (
        (_evaluated(bottleneck, h[2:3]).z, whole[2:3]),
        (_evaluated(bottleneck, torch.cat([h, h])).z, torch.cat([whole, whole])),
    ):
        assert torch.allclose(alone, reference, rtol=1e-4, atol=1e-5), (
            f"{name} gives a row another code among other rows: outside of training use nothing of "
            "the batch"
        )


def _stored(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    parts = [_evaluated(bottleneck, part).detached() for part in (h[:3], h[3:])]
    for key, tensor in parts[0].tensors().items():
        assert len(tensor) == 3, (
            f"{name}: the code's tensor {key!r} is of shape {tuple(tensor.shape)} for 3 rows: the "
            "rows come first in what tensors() names"
        )
    joined = type(parts[0]).join(parts)
    whole = _evaluated(bottleneck, h)
    assert torch.allclose(joined.z, whole.z, rtol=1e-4, atol=1e-5), (
        f"{name}: codes of two batches, joined, are not the code of both: let tensors() name all "
        "that z is made of"
    )


def _gradient(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    h.requires_grad_(True)
    z = bottleneck.train()(h, sample=True).z
    (z * torch.randn_like(z)).sum().backward()
    reached = h.grad is not None and bool((h.grad != 0).any())
    assert reached, (
        f"{name} lets no gradient through to the encoder: pass it straight, as in "
        "z + (rounded - z).detach()"
    )
    assert h.grad is not None
    assert bool(torch.isfinite(h.grad).all()), (
        f"{name} has a gradient of NaN or infinity: keep roots, logarithms and divisions off zero"
    )


def _state(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    fresh = copy.deepcopy(bottleneck)
    bottleneck.train()
    optimiser = None
    parameters = [p for p in bottleneck.parameters() if p.requires_grad]
    if parameters:
        optimiser = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(3):
        z = bottleneck(h + torch.randn_like(h), sample=True).z
        if optimiser is not None and z.requires_grad:
            z.square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
    fresh.load_state_dict(bottleneck.state_dict())
    assert torch.equal(_evaluated(fresh, h).z, _evaluated(bottleneck, h).z), (
        f"{name} gives another code once its state_dict is loaded elsewhere: keep what training "
        "changes in parameters or buffers"
    )


def _evaluation(name: str, bottleneck: nn.Module, h: Tensor) -> None:
    before = {key: t.clone() for key, t in bottleneck.state_dict().items()}
    _evaluated(bottleneck, h)
    for key, tensor in bottleneck.state_dict().items():
        assert torch.equal(tensor, before[key]), (
            f"{name} changes {key!r} while it is evaluated: change buffers in training only"
        )
