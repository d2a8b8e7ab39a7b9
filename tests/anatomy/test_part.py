"""Parts: hooks that are none are refused, hooks come in order and number; averages of parts."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from isthmus.anatomy import (
    EMA,
    Autoencoder,
    Batch,
    Clock,
    Code,
    Linear,
    Look,
    Part,
    Player,
    Prior,
    Sampler,
    Signal,
    Step,
    Term,
    View,
)  # fmt: skip
from isthmus.bottlenecks import GaussianBottleneck, Identity, StandardNormal
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def made_of(**parts):
    torch.manual_seed(0)
    chosen = {
        "encoder": nn.Linear(6, 3), "bottleneck": Identity(), "decoder": nn.Linear(3, 6),
        "objective": MSE(), **parts,
    }  # fmt: skip
    return Autoencoder(Signal("vector", (6,)), **chosen)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("after_updates", "after_update"), ("afterupdate", "after_update"),
        ("before_updates", "before_update"), ("every_epochs", "every_epoch"),
        ("constrains", "constrain"), ("prepares", "prepare"), ("observes", "observe"),
        ("finished", "finish"), ("row_weight", "row_weights"),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_a_hooks_is_refused_when_the_class_is_made(name, meant):
    with pytest.raises(
        IsthmusError, match=rf"Mine\.{name} would never be called: .* '{meant}'\?"
    ) as p:
        type("Mine", (Part,), {name: lambda self: None})
    assert "\n" not in str(p.value)


def test_other_names_and_private_ones_are_free():
    class Mine(Part):
        def _after_updates(self):
            pass

        def predict(self):
            pass

        after_updates_seen = 0  # no function

    assert isinstance(Mine(), Part)


def test_a_misspelt_word_in_a_hook_is_refused_when_the_class_is_made():
    with pytest.raises(
        IsthmusError, match=r"Mine\.after_update asks for 'modle': did you mean 'mo"
    ):

        class Mine(Part):
            def after_update(self, *, modle):
                pass


@pytest.mark.parametrize(
    "name", ["before_update", "after_update", "constrain", "every_epoch", "row_weights"]
)
def test_a_plain_module_with_a_hook_is_refused_when_the_model_is_made(name):
    plain = type("Plain", (nn.Linear,), {name: lambda self: None})
    with pytest.raises(IsthmusError, match=rf"Plain\.{name} would never be called, .*inherit") as p:
        made_of(encoder=nn.Sequential(plain(6, 3)))
    assert "\n" not in str(p.value)


# --- when hooks are called ---------------------------------------------------------------------


class Recording(nn.Linear, Part):
    """Keeps what happens to it, in order."""

    def __init__(self, calls, name, *sizes):
        super().__init__(*sizes)
        self.calls, self.called = calls, name

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.calls.append(f"{self.called} forward")
        return super().forward(x)

    def prepare(self, model, look):
        self.calls.append(f"{self.called} prepare")

    def observe(self, out, step):
        assert not torch.is_grad_enabled()
        self.calls.append(f"{self.called} observe {len(out.x)}")

    def before_update(self, *, step):
        assert self.weight.grad is not None
        self.calls.append(f"{self.called} before {step.player}")

    def after_update(self, *, model, step):
        assert self.weight.grad is None
        self.calls.append(f"{self.called} after {step.player}")

    def finish(self, model, source):
        self.calls.append(f"{self.called} finish")


class Loss(MSE):
    """Marks when it is asked."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, model, out):
        self.calls.append("loss")
        return super().forward(model, out)


class Judged(Term):
    name, unit, player = "judged", "nats", "critic"

    def forward(self, model, out):
        model.encoder.calls.append("judged")
        return F.softplus(model.critics["critic"](out.code.z)[:, 0])


def recorded(calls, players=1, **player):
    parts = {}
    objective = Loss(calls)
    if players == 2:
        objective = objective + Judged()
        parts = {"critics": {"critic": Recording(calls, "c", 3, 1)}}
    if player:
        parts["players"] = [Player("model", **player)]
    model = made_of(encoder=Recording(calls, "e", 6, 3), objective=objective, **parts)
    calls.clear()
    return model


def trained(model, calls, steps=1, **options):
    toys.trainer(model, steps=steps, **options).run()
    assert calls[: calls.index("e forward")] == [c for c in calls if "prepare" in c]
    return [c for c in calls if "prepare" not in c]


def test_hooks_of_one_player():
    calls = []
    model = recorded(calls)
    one = ["e forward", "e observe 16", "loss", "e before model", "e after model"]
    assert trained(model, calls, steps=3) == one * 3 + ["e finish"]
    assert calls[0] == "e prepare"


def test_hooks_of_two_players():
    calls = []
    model = recorded(calls, players=2)
    one = [
        "e forward", "e observe 16", "c observe 16", "loss", "e before model", "e after model",
        "e forward", "judged", "c forward", "c before critic", "c after critic",
    ]  # fmt: skip
    assert trained(model, calls, steps=2) == one * 2 + ["e finish", "c finish"]


def test_a_player_of_several_steps_is_observed_once():
    calls = []
    model = recorded(calls, steps=3)
    turn = ["loss", "e before model", "e after model"]
    one = ["e forward", "e observe 16", *turn, "e forward", *turn, "e forward", *turn]
    assert trained(model, calls, steps=2) == one * 2 + ["e finish"]


def test_a_player_of_every_second_step():
    calls = []
    model = recorded(calls, players=2, every=2)
    critic = ["judged", "c forward", "c before critic", "c after critic"]
    first = [
        "e forward", "e observe 16", "c observe 16", "loss", "e before model", "e after model",
        "e forward", *critic,
    ]  # fmt: skip
    second = ["e forward", "e observe 16", "c observe 16", *critic]
    assert trained(model, calls, steps=4) == (first + second) * 2 + ["e finish", "c finish"]


def test_accumulated_parts_are_observed_together_before_the_last_loss():
    calls = []
    model = recorded(calls)
    one = ["e forward", "loss"] * 3 + ["e forward", "e observe 16", "loss"]
    one += ["e before model", "e after model"]
    assert trained(model, calls, steps=2, accumulate=4) == one * 2 + ["e finish"]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_what_is_observed_are_all_rows_of_the_step(accumulate):
    seen = []

    class Sees(Identity, Part):
        def observe(self, out, step):
            seen.append((out.x, out.target, out.code.z, out.views[0].x, step.batch.x, out.batch.x))

    run = toys.trainer(made_of(bottleneck=Sees()), steps=1, accumulate=accumulate)
    run.run()
    batch, before = run.batches[0].x, made_of()
    for rows in (seen[0][i] for i in (0, 1, 3, 4, 5)):
        assert torch.equal(rows, batch)
    torch.testing.assert_close(seen[0][2], before.encoder(batch))


def test_what_is_observed_of_several_draws_are_all_rows():
    seen = []

    class Sees(GaussianBottleneck, Part):
        def observe(self, out, step):
            seen.append((out.code.z.shape, out.code.mean.shape))

    for parts in (1, 4):
        model = made_of(encoder=nn.Linear(6, 6), bottleneck=Sees(5))
        toys.trainer(model, steps=1, accumulate=parts).run()
    assert seen == [((5, 16, 3), (16, 3))] * 2


def test_an_observer_that_looks_at_the_draw_does_not_change_what_is_trained():
    """Nothing is recorded for gradients, and the generator is where it was."""

    class Sees(Identity, Part):
        def observe(self, out, step):
            self.seen = out.need_recon().sum() if out.params is not None else None

    plain, seen = made_of(), made_of(bottleneck=Sees())
    for model in (plain, seen):
        toys.trainer(model, steps=4).run()
    assert torch.equal(plain.encoder.weight, seen.encoder.weight)
    assert not seen.bottleneck.seen.requires_grad


def test_constrain_is_called_on_averaged_weights():
    calls = []

    class Held(nn.Linear, Part):
        def constrain(self):
            calls.append("constrain")
            with torch.no_grad():
                self.weight.clamp_(0.0, 0.1)

    model = made_of(encoder=Held(6, 3))
    toys.trainer(model, steps=3, average=0.5).run()
    assert calls == ["constrain"]
    assert 0.0 <= model.encoder.weight.min() <= model.encoder.weight.max() <= 0.1


def test_prepare_sees_the_data_in_the_models_units():
    looks = []

    class Sees(Identity, Part):
        def prepare(self, model, look):
            looks.append(look)

    run = toys.trainer(made_of(bottleneck=Sees()), steps=2)
    run.run()
    (look,) = looks
    assert isinstance(look, Look)
    assert (look.rows, look.batch_size, look.steps) == (160, 16, 2)
    assert look.source is toys.SOURCE
    assert look.tensor is look.x
    assert torch.equal(look.batch.x.sort(0).values, torch.from_numpy(toys.X).sort(0).values)
    with pytest.raises(IsthmusError, match="reads one array and got several named ones"):
        _ = Look({"a": X, "b": X}, Batch({"a": X, "b": X}), 32).tensor


# --- priors ------------------------------------------------------------------------------------


def test_a_function_is_a_prior_without_a_density():
    model = made_of(prior=lambda n: torch.zeros(n, 3))
    assert isinstance(model.prior, Sampler)
    assert model.prior.log_prob(torch.zeros(2, 3)) is None
    assert torch.equal(model.prior(4), torch.zeros(4, 3))
    model.prior = lambda n: torch.ones(n, 3)
    assert torch.equal(model.prior.sample(2), torch.ones(2, 3))
    assert model.sample(2).shape == (2, 6)


def test_a_prior_has_a_density():
    z = torch.randn(5, 3)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(StandardNormal(3).log_prob(z), normal)
    assert Prior().log_prob(z) is None
    with pytest.raises(NotImplementedError):
        Prior().sample(2)


# --- averages of parts -------------------------------------------------------------------------


def normed():
    return nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))


class TwoViews(nn.Module):
    """The same rows for the model and for its teacher."""

    def forward(self, x):
        return [View(x), View(2.0 * x, by="teacher")]


class Agree(Term):
    name, unit, rebuilds = "agree", "squared", False

    def forward(self, model, out):
        return (out.codes[0].z - out.codes[1].z).square().sum(1) + out.codes[0].z.sum(1)


def taught(decay=0.9, of="encoder", **parts):
    return made_of(
        encoder=normed(), corruption=TwoViews(), objective=Agree(), decoder=None,
        parts={"teacher": EMA(of, decay)}, **parts,
    )  # fmt: skip


@pytest.mark.parametrize("decay", [0.9, 0.0, Linear(0.5, 1.0, 4, fit=None)])
def test_the_average_follows_by_its_schedule(decay):
    model = taught(decay)
    share = decay if isinstance(decay, Linear) else lambda clock: decay
    wanted = [p.detach().clone() for p in model.encoder.parameters()]
    run = toys.trainer(model, steps=5, lr=0.1)
    run.build()
    stepper = run.stepper
    stepper.train()
    for step in range(5):
        stepper.step(run.batches[step], step)
        d = share(Clock(step, 5))
        wanted = [
            d * w + (1.0 - d) * p.detach()
            for w, p in zip(wanted, model.encoder.parameters(), strict=True)
        ]
        copy = model.parts["teacher"].copies[0]
        for mine, value in zip(copy.parameters(), wanted, strict=True):
            torch.testing.assert_close(mine, value)
            assert not mine.requires_grad
            assert mine.grad is None
    stepper.release()


def test_the_view_of_the_teacher_is_encoded_by_it_without_gradients():
    model = taught()
    teacher = model.parts["teacher"]
    with torch.no_grad():
        teacher.copies[0][0].weight.add_(1.0)
    model.eval()
    out = model(X)
    assert torch.equal(out.codes[0].z, model.encoder(X))
    assert torch.equal(out.codes[1].z, teacher.copies[0](2.0 * X))
    assert out.codes[0].z.requires_grad
    assert not out.codes[1].z.requires_grad


def test_an_average_of_several_parts_is_their_chain():
    """With its own bottleneck the teacher's output is the code."""
    torch.manual_seed(0)
    model = taught(of=("encoder", "bottleneck"))
    model.eval()
    out = model(X)
    assert isinstance(out.codes[1], Code)
    assert torch.equal(out.codes[1].z, model.encoder(2.0 * X))
    projected = made_of(
        parts={"projector": nn.Linear(3, 2), "teacher": EMA(("encoder", "parts.projector"))}
    )
    assert torch.equal(
        projected.encode_view(View(X, by="teacher")),
        projected.parts["projector"](projected.encoder(X)),
    )


def test_names_that_are_none_are_one_sentence():
    with pytest.raises(
        IsthmusError, match="average of 'encodr' has nothing to follow: the model has"
    ):
        taught(of="encodr")
    model = made_of(parts={"teacher": EMA("encoder")})
    with pytest.raises(
        IsthmusError, match=r"part that encodes a view 'teachr': did you mean 'teache"
    ):
        model.encode_view(View(X, by="teachr"))


class Drawn(nn.Linear, Part):
    """Starts from the data and from chance."""

    def prepare(self, model, look):
        with torch.no_grad():
            self.weight.copy_(torch.randn_like(self.weight) + look.tensor.mean())


def test_the_average_starts_from_the_parts_as_they_were_set_up():
    model = made_of(encoder=Drawn(6, 3), parts={"teacher": EMA("encoder")})
    torch.manual_seed(3)
    model.prepare(X)
    assert torch.equal(model.parts["teacher"].copies[0].weight, model.encoder.weight)


def test_the_copies_of_an_average_have_no_hooks_of_their_own():
    """What follows a part is changed by following it, and by nothing else."""
    calls = []
    model = made_of(encoder=Recording(calls, "e", 6, 3), parts={"teacher": EMA("encoder")})
    model.parts["teacher"].copies[0].called = "copy"
    model.parts["teacher"].copies[0].calls = calls
    toys.trainer(model, steps=2).run()
    assert [c for c in calls if "copy" in c and "forward" not in c] == []
    assert calls.count("e observe 16") == 2


def test_an_average_is_saved_and_not_trained():
    model = taught()
    names = [n for n in model.state_dict() if n.startswith("parts.teacher.copies.0.")]
    assert len(names) == len(model.encoder.state_dict())
    run = toys.trainer(model, steps=1)
    run.build()
    trained = {id(p) for p in run.stepper.parameters["model"]}
    assert not any(id(p) in trained for p in model.parts["teacher"].parameters())


def test_a_step_is_what_a_hook_is_told():
    seen = []

    class Sees(nn.Linear, Part):
        def after_update(self, *, model, step):
            seen.append((model, step))

    model = made_of(encoder=Sees(6, 3))
    toys.trainer(model, steps=2).run()
    assert [s.clock for _, s in seen] == [Clock(0, 2, 16, 160), Clock(1, 2, 16, 160)]
    assert all(isinstance(s, Step) and s.player == "model" and m is model for m, s in seen)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def observe(self, out): pass", r"called with \(out, step\): write def observe\("),
        ("def observe(self, step, out): pass", r"called with \(out, step\)"),
        ("def finish(self): pass", r"called with \(model, source\)"),
        ("def finish(self, source, model): pass", r"called with \(model, source\)"),
        ("def finish(self, *, model): pass", "asks for 'model', which it cannot have"),
        ("def every_epoch(self, model, source): pass", r"called with \(model, source, step\)"),
        ("def every_epoch(self, *, model, step): pass", "'model', which it cannot have"),
        ("def prepare(self, look): pass", r"called with \(model, look\)"),
        ("def after_update(self, model): pass", "with model, step and optimiser behind a"),
        ("def after_update(self, *, out): pass", "'out', which it cannot have"),
        ("def constrain(self, *, step=None): pass", "'step', which it cannot have"),
        ("observe = None", "is no method"),
    ],
)
def test_a_hook_that_could_not_be_called_is_refused_when_its_class_is_made(source, said):
    body: dict = {}
    exec(source, {}, body)
    with pytest.raises(IsthmusError, match=said):
        type("Mine", (Part,), body)


@pytest.mark.parametrize(
    "source",
    [
        "def observe(self, out, step): pass",
        "def observe(self, out, step, *, model): pass",
        "def observe(self, *, model): pass",
        "def observe(this, seen, now): pass",
        "def observe(self, *args): pass",
        "def finish(self, *args, **more): pass",
        "def after_update(self): pass",
        "def after_update(self, *, step, model): pass",
        "def constrain(self, *, model, tolerance=1e-6): pass",
        "def every_epoch(self, model, source, step, shuffled=True): pass",
    ],
)
def test_hooks_that_can_be_called_are_welcome(source):
    body: dict = {}
    exec(source, {}, body)
    type("Mine", (Part,), body)
