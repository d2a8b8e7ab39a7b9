"""Steps of this machine: timed where they are small, carried on where they are not."""

import pytest

from commands import run
from isthmus.roofline import Shape, here, machine, planned
from isthmus.roofline.training_plan import Share


def test_what_grows_with_the_latents_is_told_from_what_does_not(monkeypatch):
    widths = []

    def seconds(recipe, shape, width, options):
        widths.append(width)
        return 0.02 + 1e-6 * width

    monkeypatch.setattr(here, "_seconds", seconds)
    with_latents, fixed = here.measured("topk", Shape(64, 65_536, 8, 512))
    assert with_latents.seconds == pytest.approx(1e-6 * 65_536)
    assert fixed.seconds == pytest.approx(0.02)
    assert max(widths) <= 65_536 // 2
    assert len(here.measured("topk", Shape(64, 700, 8, 512))) == 1


def test_a_step_is_timed(monkeypatch):
    monkeypatch.setattr(here, "SECONDS", 0.0)
    shares = here.measured("topk", Shape(8, 64, 4, 32))
    assert [share.bound for share in shares] == ["timed"]
    assert 0 < shares[0].seconds < 5
    plan = planned(Shape(8, 64, 4, 32), 3200, here.this_machine(), measured=shares)
    assert plan.timed
    assert plan.seconds == pytest.approx(100 * shares[0].seconds)
    assert plan.device.memory_bytes > 1e8


def test_a_plan_on_the_command_line(tmp_path, monkeypatch):
    said = run("plan", "fit", "topk", "--d", "4096", "--width", "1048576", "--tokens", "8e9",
               "--device", "h200", "--ranks", "64", "--host", "8e9", cwd=tmp_path)  # fmt: skip
    for word in ("64 x H200", "exchange of the top k", "65.5 TB", "estimated", "harvest"):
        assert word in said
    monkeypatch.setattr(here, "_seconds", lambda *_: 0.25)
    said = run("plan", "fit", "topk", "--d", "8", "--width", "64", "--k", "4", "--batch", "32",
               "--tokens", "3200", "--device", "here", cwd=tmp_path)  # fmt: skip
    assert "timed here" in said
    assert "100 steps" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vae",), "recipe with k active latents"),
        (("topk", "--device", "h20"), "h200"),
        (("topk", "lr=1"), "is not here"),
        (("topk", "--device", "here", "--ranks", "2", "--width", "64"), "one rank"),
        (("topk", "--width", "16"), "fewer than k=32"),
        (("topk", "--host", "-8e9"), "a language model of -8e+09 parameters is none"),
        (("topk", "--host", "0"), "parameters is none"),
        (("topk", "--host", "nan"), "parameters is none"),
        (("topk", "--device", "here", "--host", "8e9"), "leave out --host"),
        (("topk", "--device", "here", "--plot", "plan.pdf"), "should end in .png"),
        (("jumprelu",), "jumprelu does not say how many latents of a row are active: add --k N"),
    ],
)
def test_a_plan_that_cannot_be_made_is_one_sentence(words, said, tmp_path, monkeypatch):
    def measured(*_):
        assert "--ranks" in words, "all else is known before a step is timed"
        return (Share("the step", 1.0, "timed"),)

    monkeypatch.setattr(here, "measured", measured)
    assert said in run("plan", "fit", *words, cwd=tmp_path, code=2)


def test_a_plan_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from isthmus.pictures.plan_chart import chart

    plan = planned(Shape(4096, 1_048_576, 64, 65_536), 8e9, machine("h200"), 64)
    picture = chart(plan, 8e9)
    figure = picture.figure()
    (part,) = figure.subfigs
    (axes,) = part.axes
    assert axes.get_yticklabels()[0].get_text() == "1 rank"
    assert len(axes.get_yticklabels()) == 7
    assert "estimated" in axes.get_xlabel()
    widths = [bar.get_width() for bar in axes.patches if bar.get_width()]
    assert sum(widths) == pytest.approx(
        1e3 * sum(planned(plan.shape, 8e9, plan.device, 1 << p).step_seconds for p in range(7))
    )
    assert run("plan", "fit", "topk", "--plot", "plan.png", cwd=tmp_path)
    assert (tmp_path / "plan.png").stat().st_size > 1000
