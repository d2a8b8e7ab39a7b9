"""The pages of claims and their picture, made of the JSON alone."""

import json
from xml.etree import ElementTree

import pytest
from claims_made import a_claim, figures, seeds

from isthmus.reproduction.claims_page import claims_page, family_pages, section
from isthmus.reproduction.forest_plot import forest_plot
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import Premise, Primary, Published, Secondary, value


def stored(effects=(1.0, 1.1, 0.9, 1.2, 0.8), **changes):
    """What would stand in the file of a claim with these effects."""
    main = Primary(
        a_claim().primary.quantity, "best", "null", above=0.0,
        published=Published(3.0, "table 1"),
    )  # fmt: skip
    claim = a_claim(**{"primary": main, **changes})
    trials = [TrialResult(11 + i, 1.0, 60.0, f) for i, f in enumerate(seeds(effects))]
    curve = [TrialResult(0, b, 60.0, figures(method=1.0 + effects[0])) for b in (0.5, 1.0)]
    outcome = Outcome(claim, 1.0, curve=curve, trials=trials)
    return json.loads(json.dumps(outcome.to_dict()))


def test_the_table_has_a_line_a_claim_and_lists_what_was_not_run():
    page = claims_page([stored()], {"made": a_claim(), "other": a_claim(name="other")})
    assert "1 of 2 claims have been run. Supported: 1; contradicted: 0;" in page
    line = next(line for line in page.splitlines() if line.startswith("| [`made`]"))
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert cells[0] == "[`made`](claims/made.md#made): It is large."
    assert cells[1:4] == [
        "3", "1 [0.8037, 1.196], claimed > 0, smaller than published", "**supported**",
    ]  # fmt: skip
    assert cells[4:] == ["5", "7.0"]
    assert "- [`other`](claims/made.md#other): It is large." in page


def test_a_section_says_what_the_word_rests_on():
    text = section(
        stored(
            premises=(Premise(value("size", "other"), above=0.5, why="it was trained"),),
            secondary=(Secondary(value("size", "best"), above=6.0, source="ours"),),
            reading="So it is.",
        )
    )
    for told in (
        "**Supported** (5 seeds, 7.0 minutes). So it is.",
        "- Size of method, less that of other: 1 [0.8037, 1.196], claimed > 0; by seed 1, 1.1,",
        "- Published: 3 (table 1): the effect here is smaller than published.",
        "- Positive control: 4, passes, as it must.",
        "does not pass, as it must not.",
        "- Premise (it was trained): size of other, 1, needed > 0.5: met.",
        "- On the pilot's seed, by budget: 1 at 0.5, 1 at 1.",
        "- Beside it: size of best, 5, > 6 (ours): no.",
        "| size | 2 (1.8 to 2.2) | 1 | 5 | 1.002 (0.99 to 1.01) |",
    ):
        assert told in text


def test_a_family_has_all_of_its_claims_run_or_not():
    declared = {"made": a_claim(), "other": a_claim(name="other")}
    page = family_pages([stored()], declared)["made"]
    assert page.startswith("# Claims: made\n")
    assert section(stored()) in page
    rest = page[page.index("## other") :]
    assert "**Declared, and not run yet.**" in rest
    assert "- Size of method, less that of other: claimed > 0." in rest
    assert "- Positive control: size of best, less that of other." in rest


def test_why_nothing_is_decided_is_told():
    text = section(stored(premises=(Premise(value("size", "other"), above=2.0),)))
    assert "**Not testable here**" in text
    assert "Why nothing is decided: premise missed: size of other 1, needed > 2." in text


def test_the_picture_has_each_effect_on_its_side():
    names = {"up": (1.0, 1.1, 0.9, 1.2, 0.8), "down": (-1.0, -1.1, -0.9, -1.2, -0.8)}
    results = [{**stored(effects), "name": name} for name, effects in names.items()]
    root = ElementTree.fromstring(forest_plot(results))
    space = "{http://www.w3.org/2000/svg}"
    middle = float(root.find(f"{space}line").get("x1"))
    dots = [float(dot.get("cx")) for dot in root.iter(f"{space}circle")]
    assert dots[0] > middle > dots[1]
    told = [text.text for text in root.iter(f"{space}text")]
    assert any("supported" in one and "◇ 3" in one for one in told)
    assert len(list(root.iter(f"{space}path"))) == 2


@pytest.mark.parametrize("effects", [(float("nan"),) * 5])
def test_the_picture_says_what_is_undefined(effects):
    assert "undefined · not testable here" in forest_plot([stored(effects)])
