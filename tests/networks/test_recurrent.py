"""Recurrent networks against a loop over packed sequences, and what padding may not change."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from isthmus.anatomy import Batch, View
from isthmus.errors import IsthmusError
from isthmus.networks import Ended, TokenDecoder, TokenEncoder

TOKENS, LATENT = 5, 3
LENGTHS = torch.tensor([4, 1, 6, 2])


@pytest.fixture
def data():
    torch.manual_seed(0)
    mask = torch.arange(6) < LENGTHS[:, None]
    return torch.randint(TOKENS, (4, 6)) * mask, mask


@pytest.fixture(params=[1, 2], ids=["one-layer", "two-layers"])
def pair(request):
    torch.manual_seed(1)
    options = {"embedding": 4, "hidden": 7, "layers": request.param}
    encoder = TokenEncoder(TOKENS, LATENT, **options)
    return encoder, TokenDecoder(TOKENS, LATENT, 6, **options)


def packed_loss(encoder, decoder, x, lengths):
    """Summed nats of each row, by packed sequences and torch's own cross-entropy."""
    inner = pack_padded_sequence(encoder.embed(x), lengths, batch_first=True, enforce_sorted=False)
    z = encoder.head(encoder.lstm(inner)[1][0][-1])
    layers, hidden = decoder.lstm.num_layers, decoder.lstm.hidden_size
    first = decoder.first(z).reshape(len(x), 2, layers, hidden)
    state = tuple(first[:, i].transpose(0, 1).contiguous() for i in (0, 1))
    rows = [row[:n] for row, n in zip(x, lengths, strict=True)]
    start, end = torch.tensor([TOKENS]), torch.tensor([TOKENS])
    inputs = nn.utils.rnn.pad_sequence([torch.cat([start, r]) for r in rows], batch_first=True)
    wanted = nn.utils.rnn.pad_sequence(
        [torch.cat([r, end]) for r in rows], batch_first=True, padding_value=-100
    )
    inner = pack_padded_sequence(
        decoder.embed(inputs), lengths + 1, batch_first=True, enforce_sorted=False
    )
    states, _ = pad_packed_sequence(decoder.lstm(inner, state)[0], batch_first=True)
    logits = decoder.head(states)
    return nn.functional.cross_entropy(
        logits.transpose(1, 2), wanted, ignore_index=-100, reduction="none"
    ).sum(1)


def own_loss(encoder, decoder, x, mask):
    logits = decoder(encoder(x, mask=mask), view=View(x, mask=mask), batch=Batch(x, mask=mask))
    target = Ended(TOKENS)(x, mask=mask)
    told = torch.distributions.Categorical(logits=logits).log_prob(target.x)
    return -torch.where(target.mask, told, 0.0).sum(1)


def test_loss_and_gradients_are_those_of_packed_sequences(pair, data):
    (encoder, decoder), (x, mask) = pair, data
    parameters = [*encoder.parameters(), *decoder.parameters()]
    theirs = packed_loss(encoder, decoder, x, LENGTHS)
    wanted = torch.autograd.grad(theirs.mean(), parameters)
    ours = own_loss(encoder, decoder, x, mask)
    found = torch.autograd.grad(ours.mean(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_row_by_itself_is_the_same(pair, data):
    (encoder, decoder), (x, mask) = pair, data
    codes, losses = encoder(x, mask=mask), own_loss(encoder, decoder, x, mask)
    for i, n in enumerate(LENGTHS.tolist()):
        row, seen = x[i : i + 1, :n], mask[i : i + 1, :n]
        torch.testing.assert_close(encoder(row, mask=seen)[0], codes[i], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(encoder(row)[0], codes[i], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            own_loss(encoder, decoder, row, seen)[0], losses[i], rtol=1e-6, atol=1e-6
        )


def test_what_stands_in_the_padding_is_never_read(pair, data):
    (encoder, decoder), (x, mask) = pair, data
    other = torch.where(mask, x, (x + 3) % TOKENS)
    assert torch.equal(encoder(x, mask=mask), encoder(other, mask=mask))
    assert torch.equal(own_loss(encoder, decoder, x, mask), own_loss(encoder, decoder, other, mask))


def test_what_is_generated_is_most_probable_at_each_step(pair):
    _, decoder = pair
    z = 3 * torch.randn(20, LATENT)
    ids = decoder(z).argmax(-1)
    rows = Ended(TOKENS).inverse(ids)
    assert (rows.lengths <= 6).all()
    for i, row in enumerate(rows.rows()):
        said = decoder.teach(z[i : i + 1], row[None]).argmax(-1)[0]
        assert torch.equal(said[: len(row)], row)
        assert len(row) == 6 or said[len(row)] == TOKENS


def test_draws_follow_the_chances_and_the_generator(pair):
    _, decoder = pair
    decoder.temperature = 0.5
    z = torch.randn(1, LATENT).expand(4000, -1)
    drawn = decoder(z, generator=torch.Generator().manual_seed(3)).argmax(-1)
    again = decoder(z, generator=torch.Generator().manual_seed(3)).argmax(-1)
    assert torch.equal(drawn, again)
    # Without a generator nothing is drawn.
    assert len(decoder(z).argmax(-1).unique(dim=0)) == 1
    logits = decoder.teach(z[:1], torch.zeros(1, 1, dtype=torch.int64))[0, 0]
    chances = (logits / 0.5).softmax(0)
    shares = drawn[:, 0].bincount(minlength=TOKENS + 1) / 4000
    assert ((shares - chances).abs() < 4 * (chances * (1 - chances) / 4000).sqrt() + 1e-9).all()
    ended = (drawn == TOKENS).long()
    assert torch.equal(ended.cummax(1).values, ended)  # after the end nothing but the end


def test_only_training_forgets_inputs_and_never_the_start(pair, data):
    _, decoder = pair
    decoder.word_dropout = 1.0
    x, _ = data
    z = torch.randn(4, LATENT)
    decoder.eval()
    assert not torch.equal(decoder.teach(z, x), decoder.teach(z, x.flip(1)))
    told = decoder.teach(z, x)
    decoder.train()
    # With all inputs unknown the tokens cannot matter, and the first logits know the start.
    assert torch.equal(decoder.teach(z, x), decoder.teach(z, x.flip(1)))
    torch.testing.assert_close(decoder.teach(z, x)[:, 0], told[:, 0])


def test_the_share_of_forgotten_inputs():
    decoder = TokenDecoder(TOKENS, LATENT, 6, embedding=4, hidden=4, word_dropout=0.3)
    seen = []
    decoder.embed.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    torch.manual_seed(0)
    decoder.teach(torch.zeros(50, LATENT), torch.zeros(50, 200, dtype=torch.int64))
    assert (seen[0][:, 0] == TOKENS).all()
    assert (seen[0][:, 1:] == TOKENS + 1).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_several_draws_of_each_row(pair, data):
    (_, decoder), (x, _) = pair, data
    z = torch.randn(3, 4, LATENT)
    together = decoder.teach(z.flatten(0, 1), x).unflatten(0, (3, 4))
    for one, draw in zip(together, z, strict=True):
        torch.testing.assert_close(one, decoder.teach(draw, x), rtol=1e-5, atol=1e-6)
    with pytest.raises(IsthmusError, match="7 codes do not belong to 4 rows"):
        decoder.teach(torch.randn(7, LATENT), x)


def test_rows_of_one_length_have_no_end():
    decoder = TokenDecoder(TOKENS, LATENT, 6, ends=False, embedding=4, hidden=7)
    assert decoder(torch.randn(2, LATENT)).shape == (2, 6, TOKENS)
    assert decoder.teach(torch.randn(2, LATENT), torch.zeros(2, 6).long()).shape == (2, 6, TOKENS)


def test_an_end_is_put_behind_and_cut_off():
    x = torch.tensor([[1, 2, 0], [3, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ended = Ended(9)(x, mask=mask)
    assert ended.x.tolist() == [[1, 2, 0, 9], [3, 9, 0, 0]]
    assert ended.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert Ended(9)(x).x[:, 3].tolist() == [9, 9]
    back = Ended(9).inverse(torch.tensor([[1, 9, 4], [9, 9, 9], [1, 2, 3]]))
    assert [row.tolist() for row in back.rows()] == [[1], [], [1, 2, 3]]
    assert back.values.tolist() == [[1, 0, 0], [0, 0, 0], [1, 2, 3]]


@pytest.mark.parametrize("size", ["embedding", "hidden", "layers"])
def test_sizes_are_positive(size):
    with pytest.raises(IsthmusError, match="positive whole numbers"):
        TokenEncoder(TOKENS, LATENT, **{size: 0})
    with pytest.raises(IsthmusError, match="positive whole numbers"):
        TokenDecoder(TOKENS, LATENT, 6, **{size: 0})
