"""A cross-layer transcoder in the place of all feed-forward parts of a model."""

import pytest
import torch

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.interpretation import behaviour, spliced
from isthmus.interpretation.encoding import coded
from isthmus.interpretation.replacement import layer_splices, points_read
from isthmus.recipes import get_recipe

from .made import dictionary, language, tokens

HOST, TEXT = language(layers=3), tokens()
LAYERS = range(3)
READ = [f"layers.{layer}.mlp:in" for layer in LAYERS]
WRITTEN = [f"layers.{layer}.mlp" for layer in LAYERS]


def recorded(run):
    """What all feed-forward parts read and wrote while ``run`` ran, (rows, places, width)."""
    kept, handles = {}, []
    for into, out in zip(READ, WRITTEN, strict=True):
        module = HOST.module.get_submodule(out)
        handles.append(module.register_forward_hook(
            lambda m, args, y, i=into, o=out: kept.update({i: args[0], o: y})))  # fmt: skip
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return kept


def across(**options):
    rows = {n: x.flatten(0, 1) for n, x in recorded(lambda: HOST.module(TEXT.ids)).items()}
    page = get_recipe("cross-layer-transcoder")
    torch.manual_seed(0)
    made = page.build(Signal.infer(rows), page.parse({"latent_dim": 24, **options})[0])
    with torch.no_grad():
        made.prepare(rows)
        for name in made.decoder.names:
            made.decoder[name].weight.add_(0.1 * torch.randn_like(made.decoder[name].weight))
    return made.eval()


@pytest.mark.parametrize(
    "options", [{"l0": 5.0}, {"k": 4, "select": "row"}, {"l0": 5.0, "activation": "relu"}], ids=str
)
def test_each_layer_writes_what_the_latents_so_far_say(options):
    """Encoded from what the layers read in the changed run, layer by layer."""
    made = across(**options)
    clean = HOST.module(TEXT.ids)
    stream = {}

    def run():
        with spliced(HOST.module, layer_splices(made)):
            stream["logits"] = HOST.module(TEXT.ids)

    handle = HOST.module.layers[2].register_forward_hook(
        lambda m, args, y: stream.update({"left": y})
    )
    for _ in range(2):  # a second pass begins anew
        kept = recorded(run)
        read = {name: kept[name].flatten(0, 1) for name in READ}
        recon = made.unscaled(made.decode_code(coded(made, read)))
        # What enters the last part is what leaves its layer, less what is written there.
        before = stream["left"].flatten(0, 1) - recon[WRITTEN[2]]
        entering = HOST.module.layers[2].mlp_norm(before)
        torch.testing.assert_close(entering, read[READ[2]], atol=1e-3, rtol=1e-3)
        assert not torch.allclose(stream["logits"], clean, atol=1e-3)
    handle.remove()


def test_what_is_lost_is_measured_with_all_layers_replaced():
    made = across(l0=5.0)
    found = behaviour(HOST, WRITTEN, made, TEXT)
    with torch.no_grad(), spliced(HOST, layer_splices(made)):
        logits = HOST.logits(TEXT.ids, TEXT.mask)
    counted = TEXT.mask[:, 1:].bool()
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1][counted].float(), TEXT.ids[:, 1:][counted]
    )
    assert found["ce_spliced"].value == pytest.approx(float(loss), abs=1e-4)
    with torch.no_grad(), spliced(HOST, dict.fromkeys(WRITTEN, torch.zeros_like)):
        logits = HOST.logits(TEXT.ids, TEXT.mask)
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1][counted].float(), TEXT.ids[:, 1:][counted]
    )
    assert found["ce_zero"].value == pytest.approx(float(loss), abs=1e-4)


def test_what_cannot_run_in_the_model_is_said():
    with pytest.raises(IsthmusError, match="another select"):
        layer_splices(across(k=4, select="layers"))
    with pytest.raises(IsthmusError, match="use Splice"):
        layer_splices(dictionary())
    edits = layer_splices(across(l0=5.0))
    alone = spliced(HOST.module, {WRITTEN[1]: edits[WRITTEN[1]]})
    with pytest.raises(IsthmusError, match="put all edits"), torch.no_grad(), alone:
        HOST.module(TEXT.ids)


def test_points_without_numbers_are_no_layers():
    rows = {name: torch.randn(50, 4) for name in ("a:in", "a", "b:in", "b")}
    page = get_recipe("cross-layer-transcoder")
    made = page.build(Signal.infer(rows), page.parse({"latent_dim": 8})[0])
    with pytest.raises(IsthmusError, match="which layer"):
        points_read(made)
