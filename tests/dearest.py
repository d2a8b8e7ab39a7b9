"""What the tests of each recipe page cost: the dearest are printed when a run of tests ends.

A page's cost is the time of its contract checks and of its own test file, set-up and tear-down
included: seconds of processor, which a busy machine does not lengthen. They travel as a property of
a test's report, which also reaches the process that gathers what several workers report.
"""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

AIM = 1.5
"""Seconds of processor that the contract checks of one recipe may take, see ``docs/testing.md``."""

SHOWN = 10
RECIPES = Path(__file__).parent / "recipes"
CONTRACT, OWN = "contract", "own tests"


@dataclass
class Cost:
    """Seconds of one page, by recipe for the contract."""

    contract: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    own: float = 0.0

    @property
    def total(self):
        return sum(self.contract.values()) + self.own


def page_of(path, parameters):
    """What a test belongs to: (contract or own tests, page as ``family/file``, recipe), or None."""
    if not path.is_relative_to(RECIPES):
        return None
    if path.parent != RECIPES:
        name = path.stem.removeprefix("test_")
        return OWN, f"{path.parent.relative_to(RECIPES).as_posix()}/{name}", name
    subject = getattr(parameters.get("check"), "subject", None)
    if subject is None:
        return None
    from isthmus.recipes import recipes  # what only gathers reports does without

    found = recipes()[subject]
    module = found.source.partition(":")[0].removeprefix("isthmus.recipes.")
    return CONTRACT, module.replace(".", "/"), found.name


def summary(costs):
    """The lines to print, of pages by their names."""
    ranked = sorted(costs.items(), key=lambda item: -item[1].total)
    yield f"{CONTRACT:>8}  {OWN:>9}  page (seconds; over {AIM} s of contract a recipe: !)"
    for name, cost in ranked[:SHOWN]:
        over = [f"{one} {seconds:.1f}" for one, seconds in cost.contract.items() if seconds > AIM]
        mark = f"  ! {', '.join(over)}" if over else ""
        yield f"{sum(cost.contract.values()):8.2f}  {cost.own:9.2f}  {name}{mark}"
    each = [seconds for cost in costs.values() for seconds in cost.contract.values()]
    own = sum(cost.own for cost in costs.values())
    above = sum(seconds > AIM for seconds in each)
    mean = sum(each) / max(len(each), 1)
    yield (
        f"{len(costs)} pages: {sum(each):.0f} s of contract for {len(each)} recipes "
        f"({mean:.2f} s each, {above} above {AIM} s), {own:.0f} s of their own tests"
    )


def processor():
    """Seconds of processor that this process and its children have taken."""
    return sum(os.times()[:4])


class Dearest:
    """The plugin that ``conftest.py`` registers."""

    def __init__(self):
        self.costs = defaultdict(Cost)
        self.since = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        self.since = processor()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        now = processor()
        page = page_of(item.path, item.callspec.params if hasattr(item, "callspec") else {})
        if page is not None:
            report.user_properties.append(("page", (*page, now - self.since)))
        self.since = now
        return report

    def pytest_runtest_logreport(self, report):
        for name, value in report.user_properties:
            if name == "page":
                kind, page, recipe, seconds = value
                if kind == CONTRACT:
                    self.costs[page].contract[recipe] += seconds
                else:
                    self.costs[page].own += seconds

    def pytest_terminal_summary(self, terminalreporter):
        if len(self.costs) > 1:
            terminalreporter.section("dearest recipe pages")
            for line in summary(self.costs):
                terminalreporter.line(line)
