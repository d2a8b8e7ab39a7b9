"""A wrapped dictionary has what SAEBench asks of one, and rebuilds what the dictionary does."""

import subprocess
from pathlib import Path

import pytest
import torch

import isthmus
from isthmus.formats import saebench
from peers import about, cases, place, read, recorded

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-saebench" / "bin" / "python"

NAMES = {"model_name": "pythia-70m-deduped", "hook_name": "blocks.3.hook_resid_post"}
NORMALISED = {"saelens/layer-norm", "saelens/layer-norm-topk", "saelens/constant-norm",
              "saelens/matching-pursuit-layer-norm",
              "published/openai-v5"}  # fmt: skip


def kinds(transcoders):
    """Cases of dictionaries, or of transcoders, that are read."""
    found = []
    for case in cases():
        if case in NORMALISED or "bfloat16" in case or "asked" in about(case):
            continue
        if ("ranscoder" in about(case)["class"] + str(place(case))) == transcoders:
            found.append(case)
    return found


DICTIONARIES = [case for case in kinds(False) if read(case).signal.kind != "collection"]


@pytest.mark.parametrize("case", DICTIONARIES)
def test_reconstructions_are_the_peers_and_codes_are_theirs_times_lengths(case):
    model, found = read(case), recorded(case)
    wrapped = saebench.wrap(model, **NAMES)
    x = found["x"]
    lengths = model.W_dec.norm(dim=1)
    codes = model.encode(x) * (lengths if not model.cfg.rescale_acts_by_decoder_norm else 1.0)
    with torch.no_grad():
        ours = wrapped.encode(x)
        output = wrapped(x)
    if model.cfg.rescale_acts_by_decoder_norm:  # codes of such are in units of the scaled rows
        assert torch.equal(ours != 0, codes != 0)
    else:
        torch.testing.assert_close(ours, codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output, found["output"], rtol=1e-4, atol=1e-4)


def gated():
    return read("saelens/gated")


def test_it_has_the_interface():
    model = gated()
    wrapped = saebench.wrap(model, **NAMES)
    d, f = model.d_in, model.d_sae
    assert isinstance(wrapped, torch.nn.Module)
    shapes = {name: tuple(value.shape) for name, value in wrapped.named_parameters()}
    assert shapes == {"W_enc": (d, f), "W_dec": (f, d), "b_enc": (f,), "b_dec": (d,)}
    torch.testing.assert_close(wrapped.W_dec.norm(dim=1), torch.ones(f), rtol=0, atol=1e-5)
    assert (wrapped.device, wrapped.dtype) == (torch.device("cpu"), torch.float32)
    assert wrapped.b_mag.shape == (f,)  # SAEBench asks gated ones for it
    settings = wrapped.cfg
    assert (settings.hook_layer, settings.hook_name) == (3, "blocks.3.hook_resid_post")
    assert (settings.d_in, settings.d_sae, settings.dtype) == (d, f, "float32")
    assert settings.to_dict()["model_name"] == "pythia-70m-deduped"


def test_types_follow_and_positions_are_taken():
    wrapped = saebench.wrap(gated(), **NAMES)
    x = recorded("saelens/gated")["x"].reshape(4, 12, -1)
    with torch.no_grad():
        codes, output = wrapped.encode(x), wrapped(x)
        assert codes.shape == (4, 12, wrapped.cfg.d_sae)
        torch.testing.assert_close(wrapped.decode(codes), output)
        half = wrapped.to(device=torch.device("cpu"), dtype=torch.bfloat16)
        assert half(x).dtype == torch.bfloat16
    assert (half.dtype, half.cfg.dtype) == (torch.bfloat16, "bfloat16")
    with torch.no_grad():  # latents within its rounding of their threshold may differ
        assert (half(x).float() - output).norm() < 0.05 * output.norm()


def test_training_of_the_original_does_not_change_it():
    model = gated()
    wrapped = saebench.wrap(model, **NAMES)
    before = wrapped.W_dec.clone()
    with torch.no_grad():
        model.decoder.weight.mul_(2.0)
    assert torch.equal(wrapped.W_dec, before)


def test_an_atom_of_no_length_stays():
    model = read("saelens/standard")
    with torch.no_grad():
        model.decoder.weight[3] = 0.0
    wrapped = saebench.wrap(model, **NAMES)
    x = recorded("saelens/standard")["x"]
    with torch.no_grad():
        assert bool(wrapped(x).isfinite().all())
        torch.testing.assert_close(wrapped(x), model.reconstruct(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", sorted(NORMALISED))
def test_rows_normalised_each_by_itself_are_refused(case):
    with pytest.raises(isthmus.IsthmusError, match="scaling=global"):
        saebench.wrap(read(case), **NAMES)


@pytest.mark.parametrize("case", kinds(True)[:2])
def test_transcoders_are_refused(case):
    with pytest.raises(isthmus.IsthmusError, match="another place"):
        saebench.wrap(read(case), **NAMES)


def test_what_is_not_known_is_asked_for():
    model = gated()
    model.config["published"] |= {"model_name": None, "hook_name": None}
    with pytest.raises(isthmus.IsthmusError, match="pass model_name="):
        saebench.wrap(model, hook_name=NAMES["hook_name"])
    with pytest.raises(isthmus.IsthmusError, match="pass hook_name="):
        saebench.wrap(model, model_name="gpt2")
    model.config["published"] |= {"model_name": "google/gemma-2-2b",
                                  "hook_name": "blocks.5.hook_resid_post"}  # fmt: skip
    assert saebench.wrap(model).cfg.model_name == "gemma-2-2b"
    vae = isthmus.fit("vae", torch.randn(64, 4), latent_dim=2, steps=1, progress=False)
    with pytest.raises(isthmus.IsthmusError, match="no linear dictionary"):
        saebench.wrap(vae, **NAMES)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"hook_name": "blocks.3.hook_resid_pots"}, "did you mean 'hook_resid_post'"),
        ({"hook_name": "blocks.3.nothing"}, "unknown hook"),
        ({"hook_name": "layers.3"}, "pass hook_name="),
        ({"context_size": 1}, "context_size=1"),
        ({"context_size": "many"}, "context_size='many'"),
    ],
)
def test_names_and_sizes_that_are_none_are_refused(names, said):
    with pytest.raises(isthmus.IsthmusError, match=said):
        saebench.wrap(gated(), **{**NAMES, **names})


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make saebench builds SAEBench's environment")
def test_saebench_takes_them_and_measures_what_the_models_do():
    words = [str(PEER), "-W", "ignore", "-m", "tools.fixtures.saebench"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 25, done.stdout
