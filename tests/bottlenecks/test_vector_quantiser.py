"""The vector quantiser: nearest entries, averages, restarts, starts; and once a step only."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional as F

from bottlenecks import peer_vector_quantiser as peer
from isthmus.anatomy import (
    Autoencoder,
    Batch,
    Clock,
    DiscreteCode,
    Output,
    Player,
    Signal,
    Step,
    Term,
    View,
)
from isthmus.bottlenecks import VectorQuantiser
from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE, Commit, Perplexity, Quantise
from isthmus.testing import bottleneck_checks
from isthmus.training import Trainer, TrainingOptions
from isthmus.training.stepper import Stepper

STORED = json.loads(peer.STORED.read_text())
LONG = Step(Clock(10, 10**6, 8))


def quantiser(entries=6, dim=3, positions=2, seed=0, **options):
    torch.manual_seed(seed)
    made = VectorQuantiser(entries, dim, positions=positions, **options)
    with torch.no_grad():
        made.values.normal_()
    return made


def model_of(bottleneck, *, objective=None, **more):
    width = bottleneck.positions * bottleneck.dim
    return Autoencoder(
        Signal("vector", (5,)),
        encoder=nn.Linear(5, width),
        bottleneck=bottleneck,
        decoder=nn.Linear(width, 5),
        objective=objective or MSE() + 0.25 * Commit(),
        **more,
    )


def output_of(code):
    x = torch.zeros(len(code.z), 3)
    return Output(x, x, [View(x)], [code])


def observed(made, h, step=LONG):
    made.observe(output_of(made(h, sample=True)), step)


def distances(some, others):
    """Of all pairs; ``torch.cdist`` rounds small ones away."""
    return (some.detach()[:, None] - others).norm(dim=2)


def by_the_definition(values, uses, batches, decay):
    """Appendix A.1 in NumPy: both averages of each entry, in float64, and their quotient."""
    values, uses = values.astype(np.float64), uses.astype(np.float64)
    sums = values * uses[:, None]
    for batch in batches:
        nearest = ((batch[:, None] - values[None]) ** 2).sum(2).argmin(1)
        uses, sums = decay * uses, decay * sums
        for vector, entry in zip(batch, nearest, strict=True):
            uses[entry] += (1 - decay) * 1
            sums[entry] += (1 - decay) * vector
        values = sums / uses[:, None]
    return values, uses


# --- a peer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["average", "gradient"])
def test_entries_gradients_and_averages_are_those_of_a_peer(kind):
    """Six steps of vector-quantize-pytorch on the same inputs."""
    values, x, upstream = peer.inputs()
    averaged = kind == "average"
    made = VectorQuantiser(
        peer.ENTRIES, peer.DIM, positions=peer.POSITIONS, decay=peer.DECAY if averaged else None
    )
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(values))
    model = model_of(made)
    terms = [Commit()] if averaged else [Commit(), Quantise()]
    optimiser = None if averaged else torch.optim.SGD(made.parameters(), lr=peer.LR)
    for h, above, expected in zip(x, upstream, STORED[kind], strict=True):
        h = torch.from_numpy(h).requires_grad_()
        code = made(h.flatten(1), sample=True)
        out = output_of(code)
        made.observe(out, LONG)
        losses = [peer.COMMITMENT * term(model, out).mean() for term in terms]
        (sum(losses) + (code.z * torch.from_numpy(above).flatten(1)).sum()).backward()
        if optimiser is not None:
            optimiser.step()
            optimiser.zero_grad()
        assert code.indices.tolist() == expected["indices"]
        assert losses[0].item() == pytest.approx(expected["loss"], rel=1e-5)
        np.testing.assert_allclose(h.grad, expected["grad"], atol=2e-6)
        np.testing.assert_allclose(made.values.detach(), expected["values"], rtol=1e-5, atol=2e-6)
        if averaged:
            np.testing.assert_allclose(made.uses, expected["uses"], rtol=1e-5)


# --- the nearest entry ------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_each_position_takes_the_nearest_entry(shift):
    made = quantiser(entries=40, dim=5, positions=3)
    h = torch.randn(50, 15) + shift
    with torch.no_grad():
        made.values += shift
    code = made(h)
    vectors = h.double().numpy().reshape(50, 3, 1, 5)
    squares = ((vectors - made.values.double().numpy()) ** 2).sum(3)
    assert np.array_equal(code.indices, squares.argmin(2))
    assert torch.equal(code.z, made.values[code.indices].reshape(50, 15))
    assert torch.equal(code.z, made.indices_to_codes(code.indices))
    assert (code.codebook_size, code.per_position, code.width) == (40, False, 40)


def test_of_equal_entries_the_first_is_taken():
    made = quantiser(entries=4, positions=1)
    made.values[2] = made.values[1]
    assert made(made.values[1:3]).indices.flatten().tolist() == [1, 1]


def test_the_gradient_passes_straight_through():
    made, h = quantiser(), torch.randn(7, 6, requires_grad=True)
    upstream = torch.randn(7, 6)
    (made(h, sample=True).z * upstream).sum().backward()
    assert torch.equal(h.grad, upstream)


def test_half_precision_takes_the_same_entries():
    made, h = quantiser(entries=200, dim=8, positions=1), torch.randn(400, 8).bfloat16()
    expected = made(h.float()).indices
    with torch.autocast("cpu", torch.bfloat16):
        code = made(h, sample=True)
        made.observe(output_of(code), LONG)
    assert torch.equal(code.indices, expected)
    assert code.z.dtype == made.values.dtype == torch.float32
    counts = np.bincount(expected.flatten(), minlength=200)
    np.testing.assert_allclose(made.uses, 0.99 + 0.01 * counts, rtol=1e-6)


def test_large_tables_are_cut_without_a_trace(monkeypatch):
    whole, cut = quantiser(), quantiser()
    h = torch.randn(33, 6)
    expected = whole(h).indices
    observed(whole, h)
    monkeypatch.setattr("isthmus.bottlenecks.vector_quantiser.LARGEST_TABLE", 30)
    assert torch.equal(cut(h).indices, expected)
    observed(cut, h)
    torch.testing.assert_close(cut.values, whole.values)


def test_an_encoder_of_another_width_is_a_sentence():
    with pytest.raises(IsthmusError, match="returns 5 numbers a row, and 2 positions of latent_d"):
        quantiser()(torch.zeros(3, 5))


@pytest.mark.parametrize(
    "check",
    [c for d in (0.99, None) for c in bottleneck_checks(quantiser(entries=20, decay=d), 6)],
    ids=str,
)
def test_contracts_of_a_bottleneck(check):
    check()


def test_codes_are_drawn_uniformly():
    made = quantiser(entries=5, positions=3)
    torch.manual_seed(0)
    code = made(made.draw(2000))
    assert code.z.shape == (2000, 9)
    for position in range(3):
        counts = np.bincount(code.indices[:, position], minlength=5)
        assert chisquare(counts).pvalue > 1e-3


# --- averages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.3, 0.7, 0.99])
def test_averages_are_those_of_the_definition(decay):
    made = quantiser(entries=5, decay=decay)
    first = made.values.clone()
    batches = [torch.randn(20, 6) for _ in range(30)]
    for h in batches:
        observed(made, h)
    vectors = [h.reshape(-1, 3).double().numpy() for h in batches]
    values, uses = by_the_definition(first.numpy(), np.ones(5), vectors, decay)
    np.testing.assert_allclose(made.values, values, atol=1e-5)
    np.testing.assert_allclose(made.uses, uses, rtol=1e-5)


def test_an_entry_that_is_never_chosen_stays_where_it_is():
    made = quantiser(decay=0.5)
    made.values[3] += 50.0
    before = made.values[3].clone()
    for _ in range(300):  # 0.5 ** 300 is zero in single precision
        observed(made, torch.randn(5, 6))
    assert float(made.uses[3]) == 0.0
    assert torch.equal(made.values[3], before)
    again = before + torch.tensor([0.5, -0.5, 0.25])
    observed(made, torch.cat([again, torch.zeros(3)])[None])
    torch.testing.assert_close(made.values[3], again)


def test_a_codebook_with_gradients_is_not_averaged():
    made = quantiser(decay=None)
    before = made.values.detach().clone()
    observed(made, torch.randn(20, 6))
    assert torch.equal(made.values, before)
    assert [name for name, _ in made.named_parameters()] == ["values"]
    assert not list(quantiser().parameters())


# --- restarts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.9, None])
def test_long_unused_entries_restart_at_encodings_of_the_step(decay):
    made = quantiser(entries=6, decay=decay, restart_after=30)
    with torch.no_grad():
        made.values[4:] += 100.0
    far = made.values[4:].detach().clone()
    for rows in (10, 19):
        observed(made, torch.randn(rows, 6))
    assert torch.equal(made.values[4:], far)
    assert made.unused_rows[4:].tolist() == [29, 29]
    h = torch.randn(12, 6)
    observed(made, h)
    restarted = made.values[4:].detach()
    found = distances(restarted, h.reshape(-1, 3))
    assert torch.equal(found.min(1).values, torch.zeros(2))
    assert found.argmin(1).unique().numel() == 2
    assert made.unused_rows[4:].tolist() == [0, 0]
    if decay is not None:
        assert made.uses[4:].tolist() == [1.0, 1.0]


def test_without_restarts_nothing_is_restarted():
    made = quantiser()
    made.values[4:] += 100.0
    before = made.values[4:].clone()
    for _ in range(5):
        observed(made, torch.randn(400, 6), Step(Clock(3, 10, 400)))
    assert torch.equal(made.values[4:], before)
    assert int(made.unused_rows[4]) == 2000


def test_a_tenth_of_a_short_run_is_long_enough():
    made = quantiser(restart_after=10**6)
    made.values[5] += 100.0
    step = Step(Clock(0, 50, 20))  # a run of 1000 rows
    for _ in range(4):
        observed(made, torch.randn(20, 6), step)
    assert float(made.values[5].norm()) > 50.0
    observed(made, torch.randn(20, 6), step)
    assert float(made.values[5].norm()) < 10.0


def test_fewer_encodings_than_dead_entries_are_all_used():
    made = quantiser(entries=9, positions=1, restart_after=1)
    with torch.no_grad():
        made.values += 100.0 * torch.arange(1, 10)[:, None]
    h = torch.randn(3, 3)
    observed(made, h)
    assert distances(h, made.values)[:, 1:].min(1).values.tolist() == [0.0, 0.0, 0.0]


# --- starts -----------------------------------------------------------------------------------


def prepared(start, x, entries=5, positions=2, **options):
    torch.manual_seed(1)
    made = VectorQuantiser(entries, 3, positions=positions, start=start, **options)
    model = model_of(made)
    before = made.values.detach().clone()
    model.prepare(x)
    return made, before, model.encoder(x).detach().reshape(-1, 3)


@pytest.mark.parametrize("decay", [0.99, None])
def test_entries_start_at_different_encodings(decay):
    made, _, encodings = prepared("encodings", torch.randn(40, 5), decay=decay)
    found = distances(made.values.detach(), encodings)
    assert float(found.min(1).values.max()) < 1e-5
    assert found.argmin(1).unique().numel() == 5


def test_entries_start_at_the_means_of_clusters():
    centres = 10.0 * torch.randn(5, 5, generator=torch.Generator().manual_seed(3))
    x = centres.repeat(30, 1) + 0.01 * torch.randn(150, 5)
    made, _, encodings = prepared("kmeans", x, positions=1)
    means = torch.stack([encodings[i::5].mean(0) for i in range(5)])
    nearest = distances(means, made.values)
    assert sorted(nearest.argmin(1).tolist()) == [0, 1, 2, 3, 4]
    assert float(nearest.min(1).values.max()) < 1e-4


def test_entries_may_start_anywhere():
    made, before, _ = prepared("uniform", torch.randn(40, 5))
    assert torch.equal(made.values, before)
    wide = VectorQuantiser(4000, 12).values
    assert float(wide.square().sum(1).mean()) == pytest.approx(1.0, rel=0.02)
    assert float(wide.abs().max()) <= 0.5


@pytest.mark.parametrize("start", ["encodings", "kmeans"])
def test_fewer_encodings_than_entries_are_all_taken(start):
    made, _, encodings = prepared(start, torch.randn(2, 5), entries=9)
    assert float(distances(encodings, made.values).min(1).values.max()) < 1e-5


# --- once a step ------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype(np.float32)
BATCHES = [Batch(torch.from_numpy(X[24 * i : 24 * i + 24])) for i in range(2)]


class Fool(Term):
    name, unit = "fool", "nats"

    def forward(self, model, out):
        return F.softplus(-model.critics["critic"](out.code.z)[:, 0])


class Judge(Term):
    name, unit, player = "judge", "nats", "critic"

    def forward(self, model, out):
        return F.softplus(model.critics["critic"](out.code.z.detach())[:, 0])


def two_players(made):
    return model_of(
        made,
        objective=MSE() + 0.25 * Commit() + 0.1 * Fool() + Judge(),
        critics={"critic": nn.Linear(6, 1)},
        players=[Player("critic", steps=3)],
    )


@pytest.mark.parametrize("build", [model_of, two_players])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("restart_after", [None, 48])
def test_the_averages_move_once_a_step(build, accumulate, restart_after):
    """However many parts a batch is cut into, and however many players see it."""
    made = quantiser(entries=6, decay=0.8, restart_after=restart_after)
    made.values.mul_(0.3)[5] += 100.0  # the others lie where the encodings are, and are used
    model = build(made)
    options = TrainingOptions(batch_size=24, accumulate=accumulate, lr=1e-2)
    stepper = Stepper(model, options, total=1000, rows=48)
    stepper.train()
    values, uses = made.values.numpy().copy(), made.uses.numpy().copy()
    for step, batch in enumerate(BATCHES):
        with torch.no_grad():  # the encoder as it is before the step
            h = model.encoder(batch.x).reshape(-1, 3).numpy()
        values, uses = by_the_definition(values, uses, [h], 0.8)
        stepper.step(batch, step)
        if step == 1 and restart_after is not None:
            restarted = made.values[5].numpy()
            assert np.abs(h - restarted).max(1).min() < 1e-6
            values[5], uses[5] = restarted, 1.0
        np.testing.assert_allclose(made.values, values, atol=1e-5)
        np.testing.assert_allclose(made.uses, uses, rtol=1e-5)
        assert made.unused_rows[5] == (0 if restart_after and step else 24 * (step + 1))


def test_a_forward_pass_and_the_objective_move_nothing():
    made = quantiser(restart_after=1)
    model = model_of(made).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in range(3):
        out = model(BATCHES[0], LONG)
        model.objective(model, out).total.backward()
    model.encode(X)
    model.reconstruct(X)
    model.score(X)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_validation_moves_nothing():
    ends = []
    for held in (None, ArraySource(X[:20])):
        model = model_of(quantiser(restart_after=30))
        options = TrainingOptions(steps=8, batch_size=12, validate_every=1, device="cpu")
        Trainer(model, ArraySource(X), options, validation=held, progress=False).run()
        ends.append(model.bottleneck.state_dict())
    assert all(torch.equal(t, ends[1][n]) for n, t in ends[0].items())


# --- terms ------------------------------------------------------------------------------------


def test_perplexity_is_the_effective_number_of_entries():
    def of(indices, per_position=False):
        z = torch.zeros(indices.shape)
        code = DiscreteCode(z, indices, z, z, 8, per_position)
        return float(Perplexity()(model_of(quantiser()), output_of(code)))

    assert of(torch.arange(8).repeat(3)[:, None]) == pytest.approx(8.0)
    assert of(torch.full((5, 2), 3)) == pytest.approx(1.0)
    columns = torch.stack([torch.arange(4), torch.zeros(4, dtype=torch.int64)], 1)
    share = np.array([5, 1, 1, 1]) / 8
    assert of(columns) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert of(columns, per_position=True) == pytest.approx((4.0 + 1.0) / 2)
