"""What nnsight takes at the names that a point has there, held against a plain forward hook.

``python -m tools.nnsight_points`` where nnsight is installed: for small models at random of every
family prints how many points agree, and ends with an error at the first that does not.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import small_hosts  # noqa: E402
from isthmus.formats.hook_names import FAMILIES, names_of  # noqa: E402


def hooked(model: torch.nn.Module, at: list[str], inputs: dict) -> dict[str, torch.Tensor]:
    """What modules read or give in one plain pass, of a tuple its first part."""
    taken, handles = {}, []
    for point in at:
        path, _, side = point.partition(":")

        def keep(_module, args, named, given=None, point=point):
            value = given if given is not None else args[0] if args else next(iter(named.values()))
            taken[point] = value[0] if isinstance(value, tuple) else value

        module = model.get_submodule(path)
        register = (module.register_forward_pre_hook if side == "in"
                    else module.register_forward_hook)  # fmt: skip
        handles.append(register(keep, with_kwargs=True))
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return taken


def check(model_type: str) -> int:
    """How many points of a family agree."""
    from nnsight import NNsight

    model, inputs = small_hosts.host(model_type)
    at = [*small_hosts.points(model_type).values()]
    expected = hooked(model, at, inputs)
    network = NNsight(model)
    for point in at:  # each in a pass of its own: nnsight takes points in the order of the pass
        name = names_of(point, model_type)["nnsight"]
        with network.trace(**inputs), torch.no_grad():
            taken = eval(f"network.{name}", {"network": network}).save()
        said = f"{point} as {name}"
        assert torch.allclose(taken, expected[point], rtol=1e-5, atol=1e-5), said
    return len(at)


def main() -> None:
    for model_type in FAMILIES:
        print(model_type, check(model_type))


if __name__ == "__main__":
    main()
