import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import isthmus
from isthmus.activations import Streamed, harvest
from isthmus.anatomy import Source
from isthmus.data import ArraySource, Subset
from isthmus.errors import IsthmusError
from isthmus.training import Batches

from .tiny import by_hand, kept, language, tokens

HOST, TEXT = language(), tokens(40)
PLACES = 12


def megabytes(rows):
    """Memory for so many activations."""
    return rows * 6 * 4 / 2**20


def small(**options):
    """One that can keep a quarter of the text: three of ten chunks or more."""
    return Streamed(HOST, TEXT, "layers.2", memory=megabytes(150), batch=4, **options)


def test_every_token_of_the_text_once_and_the_right_one():
    source = small()
    assert isinstance(source, Source)
    where = source.where(torch.arange(len(source)))
    truth, mask = by_hand(HOST, TEXT, 2), kept(TEXT)
    seen = torch.zeros_like(mask, dtype=torch.int64)
    seen[where["row"], where["place"]] += 1
    assert torch.equal(seen, mask.long())
    rows = source.rows(torch.arange(len(source)))
    torch.testing.assert_close(rows, truth[where["row"], where["place"]], atol=1e-6, rtol=1e-5)
    assert torch.equal(where["token"], TEXT.ids[where["row"], where["place"]])
    assert torch.equal(where["document"], TEXT.document[where["row"]])


@settings(max_examples=15)
@given(st.data())
def test_an_index_has_the_same_bits_however_it_is_asked_for(data):
    source = small()
    whole = small().rows(torch.arange(len(source)))
    for _ in range(3):
        asked = data.draw(st.lists(st.integers(0, len(source) - 1), max_size=50))
        index = torch.tensor(asked, dtype=torch.int64)
        assert torch.equal(source.rows(index), whole[index])
        assert len(source._used) <= source.slots


def test_memory_is_bounded():
    source = small()
    assert 1 <= source.slots < len(source._chunks) / 2
    assert source._kept.numel() * 4 <= megabytes(150) * 2**20
    source.rows(torch.randperm(len(source)))
    assert len(source._used) <= source.slots


def test_an_epoch_harvests_every_chunk_once():
    source = small()
    batches = Batches(source, 10, seed=4)
    for epoch in range(1, 3):
        for step in range((epoch - 1) * batches.steps_per_epoch, epoch * batches.steps_per_epoch):
            batches[step]
        # What is still kept from the epoch before may be used again.
        most = epoch * len(source)
        assert most - (epoch - 1) * source.slots * source._long <= source.harvested <= most


def test_a_text_that_fits_is_harvested_once():
    source = Streamed(HOST, TEXT, "layers.2", batch=4)
    batches = Batches(source, 10)
    for step in range(3 * batches.steps_per_epoch):
        batches[step]
    assert source.harvested == len(source)


def test_the_order_mixes_the_text():
    source = small()
    order = source.order(7)
    assert sorted(order.tolist()) == list(range(len(source)))
    row = source.where(order[:64])["row"]
    assert len(row.unique()) >= 10  # of 12 rows that fit
    assert set(TEXT.document[row].tolist()) == {0, 1}
    assert not torch.equal(order, source.order(8))


def test_a_fresh_one_is_the_same():
    a, b = small(), small()
    assert a.fingerprint() == b.fingerprint()
    assert torch.equal(a.order(3), b.order(3))
    one, other = Batches(a, 16)[5], Batches(b, 16)[5]
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.rows, other.rows)
    others = [
        small(seed=1),
        small(skip_special=False),
        Streamed(HOST, tokens(40, seed=1), "layers.2", memory=megabytes(150), batch=4),
        Streamed(HOST, TEXT, "layers.1", memory=megabytes(150), batch=4),
        Streamed(language(seed=1), TEXT, "layers.2", memory=megabytes(150), batch=4),
    ]
    assert len({a.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    assert all(other.harvested == 0 for other in others)


def test_several_points_stand_side_by_side():
    source = Streamed(HOST, TEXT, ["layers.0", "layers.2"], batch=4)
    assert list(source.signal.parts) == ["layers.0", "layers.2"]
    index = torch.arange(30)
    alone = Streamed(HOST, TEXT, "layers.2", batch=4)
    rows = source.rows(index)
    assert list(rows) == ["layers.0", "layers.2"]
    assert torch.equal(rows["layers.2"], alone.rows(index))


def test_as_many_tokens_as_a_store_and_the_same_values(tmp_path):
    store = harvest(HOST, TEXT, "layers.1", tmp_path / "s", dtype="float32", progress=False)
    source = Streamed(HOST, TEXT, "layers.1")
    at = source.where(torch.arange(len(source)))
    place = store.where(torch.arange(len(store)))
    order = (at["row"] * PLACES + at["place"]).argsort()
    assert torch.equal(at["row"][order], place["row"])
    torch.testing.assert_close(
        source.rows(order), store.rows("layers.1", torch.arange(len(store))), atol=1e-6, rtol=1e-5
    )
    assert source.left_out == store.provenance.runs[0].left_out


def test_fitting_reads_each_chunk_once_an_epoch_and_setting_up_little(monkeypatch):
    source = small()
    epochs = 3
    isthmus.fit("topk", source, latent_dim=16, k=2, batch_size=32, epochs=epochs, progress=False)
    # Beside the epochs: the sample for setting up, all of this small text, and the first rows.
    assert source.harvested <= (epochs + 1) * len(source) + source._long


class Enough(Exception):
    pass


class Stop(isthmus.training.Callback):
    def on_save(self, trainer, path):
        if trainer.step == 15:
            raise Enough


def test_a_resumed_fit_has_the_same_bits(tmp_path):
    options = {
        "latent_dim": 16, "k": 2, "batch_size": 16, "steps": 40, "validation": 0.2,
        "progress": False,
    }  # fmt: skip
    whole = isthmus.fit("topk", small(), **options)
    with pytest.raises(Enough):
        isthmus.fit(
            "topk", small(), out=tmp_path / "run", save_every=15, callbacks=[Stop()], **options
        )
    with pytest.raises(IsthmusError, match="not the data"):
        isthmus.resume(tmp_path / "run", small(seed=1), progress=False)
    resumed = isthmus.resume(tmp_path / "run", small(), progress=False)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name])


def test_a_part_of_it_keeps_the_order():
    source = small()
    part = Subset(source, torch.arange(0, len(source), 3))
    order = part.order(5)
    assert sorted(order.tolist()) == list(range(len(part)))
    whole = source.order(5)
    expected = whole[whole % 3 == 0]
    assert torch.equal(part.index[order], expected)


def test_rows_of_any_source_through_any_module():
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(inplace=True))
    images = torch.rand(9, 1, 4, 5)
    source = Streamed(conv, ArraySource(images), "0", batch=2)
    at = source.where(torch.arange(len(source)))
    maps = nn.functional.conv2d(images, conv[0].weight, conv[0].bias).detach()
    found = source.rows(torch.arange(len(source)))
    row, place = at["row"].numpy(), at["place"].numpy()
    true = maps.numpy()[row, :, place // 4, place % 4]
    np.testing.assert_allclose(found, true, atol=1e-6)
    assert source.origin.tokens is None
    with pytest.raises(IsthmusError, match="is no language model"):
        source.origin.open()


def test_origin_holds_the_open_model():
    origin = small(text="letters").origin
    assert origin.open() is HOST
    assert (origin.text, origin.point, origin.tokens) == ("letters", "layers.2", TEXT)


def test_what_is_not_finite_is_an_error_and_costs_no_room():
    host = language()
    source = Streamed(host, TEXT, "layers.2", memory=megabytes(150), batch=4)
    weight = host.module.layers[2].mlp[2].bias
    with torch.no_grad():
        weight[0] = torch.inf
    for _ in range(5):
        with pytest.raises(IsthmusError, match=r"activations at 'layers\.2' hold NaN or infinity"):
            source.rows(torch.tensor([0]))
    with torch.no_grad():
        weight[0] = 0.0
    assert torch.isfinite(source.rows(torch.arange(len(source)))).all()
    assert sorted(source._used.values()) == list(range(source.slots))


@pytest.mark.parametrize("bad", [-1, 100_000])
def test_rows_that_are_not_there(bad):
    with pytest.raises(IsthmusError, match="ask for no others"):
        small().rows(torch.tensor([bad]))


@pytest.mark.parametrize("options", [{"batch": 0}, {"memory": 0}])
def test_sizes_that_are_none(options):
    with pytest.raises(IsthmusError, match="use more than 0"):
        Streamed(HOST, TEXT, "layers.2", **options)
