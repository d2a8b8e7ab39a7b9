"""Groups by number of axes, and a learning rate stated for another batch size."""

import pytest
from torch import nn

from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.training.optimisers import check_groups, learning_rate, make_optimiser
from isthmus.training.options import TrainingOptions


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def settings(options: TrainingOptions) -> dict[str, tuple[float, float]]:
    model = network()
    names = {id(p): n for n, p in model.named_parameters()}
    optimiser = make_optimiser(list(model.named_parameters()), options)
    return {
        names[id(p)]: (group["weight_decay"], group["lr_factor"])
        for group in optimiser.param_groups
        for p in group["params"]
    }


def test_one_axis_means_biases_and_normalisation():
    options = TrainingOptions(
        weight_decay=0.5, groups=({"ndim": 1, "weight_decay": 0.0, "lr": 0.1},)
    )
    assert settings(options) == {
        "0.weight": (0.5, 1.0),
        "0.bias": (0.0, 0.1),
        "1.weight": (0.0, 0.1),
        "1.bias": (0.0, 0.1),
        "3.weight": (0.5, 1.0),
        "3.bias": (0.0, 0.1),
    }


def test_pattern_and_axes_must_both_fit():
    options = TrainingOptions(groups=({"match": "3.*", "ndim": 2, "lr": 7.0},))
    chosen = {name for name, (_, lr) in settings(options).items() if lr == 7.0}
    assert chosen == {"3.weight"}


def test_axes_that_no_parameter_has_are_an_error():
    options = TrainingOptions(groups=({"match": "3.*", "ndim": 4},))
    with pytest.raises(IsthmusError, match=r"'3\.\*' of 4 axes matches no parameter"):
        check_groups(network(), options.groups)


@pytest.mark.parametrize(("batch", "rate"), [(256, 0.2), (2048, 1.6), (64, 0.05)])
def test_rate_is_proportional_to_the_batch_where_a_batch_is_named(batch, rate):
    options = TrainingOptions(lr=0.2, lr_batch=256, batch_size=batch)
    assert learning_rate(options, 100)(Clock(50, 100)) == pytest.approx(rate)


def test_rate_is_exactly_lr_where_no_batch_is_named():
    assert learning_rate(TrainingOptions(lr=0.1, batch_size=300), 9)(Clock(1, 9)) == 0.1
