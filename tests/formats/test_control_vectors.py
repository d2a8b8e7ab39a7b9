"""Directions of latents are files that inference servers read."""

import struct

import pytest
import torch
from safetensors.torch import load_file

import isthmus
from isthmus.formats import control_vectors
from peers import read


def parsed(path):
    """A GGUF file by its specification: values and tensors by name."""
    content, at = path.read_bytes(), 0

    def take(form):
        nonlocal at
        found = struct.unpack_from("<" + form, content, at)
        at += struct.calcsize("<" + form)
        return found[0] if len(found) == 1 else found

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return content[at - size : at].decode()

    assert content[:4] == b"GGUF"
    take("I")
    assert take("I") == 3
    tensors, values = take("QQ")
    said, places = {}, {}
    for _ in range(values):
        name = text()
        said[name] = text() if take("I") == 8 else take("I")
    for _ in range(tensors):
        name = text()
        shape = [take("Q") for _ in range(take("I"))]
        assert take("I") == 0
        places[name] = (shape, take("Q"))
    base = at + -at % 32
    found = {}
    for name, (shape, start) in places.items():
        assert start % 32 == 0
        found[name] = torch.frombuffer(bytearray(content[base + start :]), dtype=torch.float32)
        found[name] = found[name][: shape[0]]
    return said, found


def vectors():
    model = read("saelens/standard")
    one = control_vectors.direction(model, {3: 2.0, 5: -1.0})
    torch.testing.assert_close(one, 2.0 * model.W_dec[3] - model.W_dec[5])
    return {1: one, 4: 3.0 * one}


def test_a_direction_is_what_steering_adds():
    from isthmus.interpretation import Steering

    model = read("saelens/topk-rescaled")
    x = torch.randn(5, model.d_in)
    steered = Steering(model, add={3: 2.0}).rows(x, x)
    torch.testing.assert_close(steered - x,
                               control_vectors.direction(model, {3: 2.0}).expand(5, -1),
                               rtol=1e-4, atol=1e-5)  # fmt: skip


def test_gguf_is_as_specified(tmp_path):
    path = tmp_path / "steer.gguf"
    control_vectors.write_control_vectors(vectors(), path, model_hint="llama")
    said, found = parsed(path)
    assert said == {"general.architecture": "controlvector", "controlvector.model_hint": "llama",
                    "controlvector.layer_count": 5}  # fmt: skip
    for layer, vector in vectors().items():
        assert torch.equal(found[f"direction.{layer}"], vector)
    assert len(found) == 2


def test_the_package_of_llama_cpp_reads_it(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "steer.gguf"
    control_vectors.write_control_vectors(vectors(), path, model_hint="llama")
    reader = gguf.GGUFReader(path)
    found = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    assert torch.equal(found["direction.4"], vectors()[4])
    assert reader.get_field("general.architecture").contents() == "controlvector"


def test_safetensors_have_the_same_names(tmp_path):
    path = tmp_path / "steer.safetensors"
    control_vectors.write_control_vectors(vectors(), path, model_hint="llama")
    found = load_file(path)
    assert torch.equal(found["direction.4"], vectors()[4])


REFUSED = {
    "layer 0": ({0: torch.ones(4)}, "a.gguf", "leave layer 0 out"),
    "none": ({}, "a.gguf", "leave layer 0 out"),
    "half a layer": ({1.5: torch.ones(4)}, "a.gguf", "number layers"),
    "too large": ({1: torch.full((4,), 1e300, dtype=torch.float64)}, "a.gguf", "no numbers"),
    "empty": ({1: torch.ones(0)}, "a.safetensors", "shapes"),
    "shapes": ({1: torch.ones(4), 2: torch.ones(5)}, "a.gguf", "shapes"),
    "nan": ({1: torch.full((4,), torch.nan)}, "a.gguf", "no numbers"),
    "ending": ({1: torch.ones(4)}, "a.bin", "end it in"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_no_server_would_add_is_refused(how, tmp_path):
    directions, name, said = REFUSED[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        control_vectors.write_control_vectors(directions, tmp_path / name, model_hint="llama")
    assert not (tmp_path / name).exists()


def test_latents_that_do_not_exist_are_refused():
    model = read("saelens/standard")
    for latents, said in (({}, "no latent"), ({999: 1.0}, "no latent 999"), ({-1: 1.0}, "-1")):
        with pytest.raises(isthmus.IsthmusError, match=said):
            control_vectors.direction(model, latents)


@pytest.mark.parametrize("latents", [{1.5: 1.0}, {1: float("nan")}, [1, 2]])
def test_what_is_no_latent_or_no_amount_is_refused(latents):
    with pytest.raises(isthmus.IsthmusError, match="latent"):
        control_vectors.direction(read("saelens/standard"), latents)
