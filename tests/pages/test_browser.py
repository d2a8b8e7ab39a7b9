"""The page in a real browser: what it shows, what it does on keys, and that data cannot act."""

import numpy as np
import pytest

import isthmus
from isthmus.pages import report
from pages.browser import Browser, program
from pages.made import write_features

pytestmark = pytest.mark.skipif(program() is None, reason="no browser to open the page in")

WORD = "w" * 100_000
HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    "<!--<script>window.pwned = 1</script>-->",
    "<img src=x onerror='window.pwned = 1'>",
    "\u202etxet desrever\u202c",
    "\x00\x07\x1b[31m\r\n\t",
    "a\u2028b\u2029c\ufeff\u200b",
    "{{constructor}}${7*7}",
    "javascript:window.pwned=1",
    "__proto__",
    "مرحبا بالعالم",
    WORD,
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def text_page(tmp_path_factory):
    """A page of 300 latents; latent n fires on the word of that number."""
    folder = tmp_path_factory.mktemp("pages") / "run"
    isthmus.fit("topk", "digits", out=folder, latent_dim=8, k=2, steps=1, progress=False)
    rows = [
        {
            "rate": 0.0 if n == 299 else 0.52 / (n + 1), "tokens": [f" word{n}"],
            "near": [(n + 1) % 300], "near_cosine": [0.25], "joint": [0], "joint_value": [0.5],
        }
        for n in range(300)
    ]  # fmt: skip
    given = [
        {
            "latent": n, "group": group, "value": 2.0 - group / 10, "place": 4, "begin": 3,
            "tokens": ["seen ", f"word{n}", f" only{n}{'ab'[group == 0]}"],
            "values": [0.0, 2.0, -0.5],
        }
        for n in range(299)
        for group in (0, 10, 1)
    ]  # fmt: skip
    labels = [{"latent": 7, "label": "lucky number", "metric": "detection", "score": 0.9}]
    write_features(folder / "features", rows, given, labels)
    return report(folder, progress=False)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "<img src=x onerror=window.pwned=1>"
    data = folder.parent / "<script>window.pwned=1<\u2215script>.npy"
    np.save(data, np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
    isthmus.fit(
        "topk", str(data), out=folder, latent_dim=8, k=2, steps=1, batch_size=8, progress=False
    )
    rows = [
        {"tokens": [text], "up": [text], "down": [text], "near": [0], "near_cosine": [1.0]}
        for text in HOSTILE
    ]
    given = [
        {"latent": n, "tokens": ["before ", text, " after"], "values": [0.0, 1.0, 0.5]}
        for n, text in enumerate(HOSTILE)
    ]
    labels = [
        {"latent": n, "label": text, "method": text, "metric": text, "score": 0.5, "detail": text}
        for n, text in enumerate(HOSTILE)
    ]
    write_features(folder / "features", rows, given, labels, text=HOSTILE[0], model=HOSTILE[3])
    return report(folder, progress=False)


def open_latent(page, number):
    page.run(f"location.hash = '#latent={number}'")
    page.until(f"document.querySelector('.panel h2')?.textContent === 'Latent {number}'")


def rows_of(page):
    return page.run("[...document.querySelectorAll('.rows .cell.id')].map(n => +n.textContent)")


def by_rate(page):
    """Sort the table by how often latents fire, the most often first."""
    head = "[...document.querySelectorAll('.head button')].find(b => b.textContent === 'fires')"
    page.run(f"{head}.click()")
    return head


def counted(page):
    return page.text(".tools [role=status]")


def search(page, text, shown):
    field = "document.querySelector('.tools input')"
    page.run(f"{field}.focus()")
    page.press("Escape")
    state = "document.querySelector('.tools [role=status]').textContent"
    page.until(f"{field}.value === '' && {state} === '300 latents'")
    page.send("Input.insertText", text=text)
    page.until(f"{state} === '{shown} latents'")


def test_nothing_in_data_runs_and_all_of_it_shows(browser, hostile_page):
    page = browser.open(hostile_page, "#latents")
    title = page.run("document.title")
    for number, text in enumerate(HOSTILE):
        open_latent(page, number)
        panel = page.text(".panel")
        for piece in "".join(c if c.isprintable() else "\n" for c in text).split("\n"):
            assert piece in panel
        assert page.text(".panel .line-of-text").startswith("before ")
    open_latent(page, 3)
    assert "⟨U+202E⟩txet desrever⟨U+202C⟩" in page.text(".panel .label")
    open_latent(page, 4)
    assert "␀␇␛[31m␍↵⇥" in page.text(".panel .line-of-text")
    open_latent(page, 5)
    assert "a⟨U+2028⟩b⟨U+2029⟩c⟨U+FEFF⟩⟨U+200B⟩" in page.text(".panel .line-of-text")
    assert page.run("typeof window.pwned") == "undefined"
    assert page.run("document.title") == title
    assert (
        page.run("document.querySelectorAll('img, svg script, iframe, a[href^=java]').length") == 0
    )
    assert (
        page.run("document.scripts.length")
        == page.run("document.querySelectorAll('script[type=\"application/json\"]').length") + 1
    )
    assert page.complaints() == []


def test_long_words_do_not_widen_the_page(browser, hostile_page):
    page = browser.open(hostile_page, f"#latent={HOSTILE.index(WORD)}")
    page.until("document.querySelector('.panel .line-of-text') !== null")
    assert len(page.text(".panel .line-of-text")) == len("before  after") + len(WORD)
    for selector in ("body", ".panel", ".panel .line-of-text"):
        node = f"document.querySelector('{selector}')"
        assert page.run(f"{node}.scrollWidth <= {node}.clientWidth")
    assert page.run("document.querySelector('.panel .line-of-text').clientHeight") < 300


def test_a_script_put_into_the_page_is_not_run(browser, text_page, tmp_path):
    forged = tmp_path / "forged.html"
    script = "<script>document.documentElement.dataset.pwned = 1</script></body>"
    forged.write_text(text_page.read_text().replace("</body>", script))
    page = browser.open(forged)
    assert page.run("document.documentElement.dataset.pwned") is None
    violations = [c for c in page.complaints() if "Content Security Policy" in str(c)]
    assert violations


def test_only_rows_that_can_be_seen_are_in_the_document(browser, text_page):
    page = browser.open(text_page, "#latents")
    by_rate(page)
    assert rows_of(page)[:3] == [0, 1, 2]
    assert len(rows_of(page)) < 60
    page.run("document.querySelector('div.grid').scrollTop = 1e6")
    page.until("[...document.querySelectorAll('.rows .cell.id')].at(-1).textContent === '299'")
    assert len(rows_of(page)) < 60


def test_search_finds_labels_tokens_and_text(browser, text_page):
    page = browser.open(text_page, "#latents")
    by_rate(page)
    search(page, "lucky", "1 of 300")
    assert rows_of(page) == [7]
    search(page, "word12", "11 of 300")
    assert rows_of(page) == [12, *range(120, 130)]
    search(page, "only55B", "1 of 300")
    assert rows_of(page) == [55]
    search(page, "seen word200 ", "1 of 300")
    assert rows_of(page) == [200]
    search(page, "nowhere", "0 of 300")
    page.press("Escape")
    page.until("document.querySelector('.tools [role=status]').textContent === '300 latents'")


def test_sorting_and_filtering(browser, text_page):
    page = browser.open(text_page, "#latents")
    interest = (
        "[...document.querySelectorAll('.head button')].find(b => b.textContent === 'interest')"
    )
    assert page.run(f"{interest}.parentNode.getAttribute('aria-sort')") == "descending"
    head = by_rate(page)
    assert page.run(f"{head}.parentNode.getAttribute('aria-sort')") == "descending"
    page.run(f"{head}.click()")
    assert rows_of(page)[:2] == [299, 298]
    page.run(f"{head.replace('fires', 'score')}.click()")
    assert rows_of(page)[:3] == [7, 0, 1]
    for kind, number in (("dead", 1), ("alive", 299), ("dense", 5), ("labelled", 1)):
        page.run(
            f"(s => {{ s.value = '{kind}'; s.dispatchEvent(new Event('change')) }})"
            "(document.querySelector('.tools select'))"
        )
        assert counted(page) == f"{number} of 300 latents"


def test_keys_move_between_latents(browser, text_page):
    page = browser.open(text_page)
    assert page.run("document.querySelector('.latents').hidden")
    page.press("/", "/")
    page.until("document.activeElement.type === 'search'")
    assert page.run("document.activeElement.value") == ""
    order = rows_of(page)
    for key, place in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowDown", 3), ("ArrowUp", 2)):
        page.press(key)
        page.until(f"document.querySelector('.panel h2')?.textContent === 'Latent {order[place]}'")
    page.press("End")
    page.until("document.querySelector('.panel h2')?.textContent === 'Latent 299'")
    assert "fires on nothing" in page.text(".panel")
    page.press("Escape")
    page.until("location.hash === '#overview'")


def test_one_latent_is_open_from_the_start(browser, text_page):
    page = browser.open(text_page, "#latents")
    page.until("document.querySelector('.panel h2') !== null")
    first = rows_of(page)[0]
    assert page.text(".panel h2") == f"Latent {first}"
    assert page.text(".row.chosen .cell.id") == str(first)


def test_the_page_opens_with_interesting_latents_and_their_examples(browser, text_page):
    page = browser.open(text_page)
    page.until("document.querySelectorAll('.feature .example').length > 0")
    assert page.run("document.querySelector('.overview h2').textContent") == "Latents to begin with"
    number = page.text(".feature a").removeprefix("latent ")
    assert page.text(".feature .example .peak") == f"word{number}"
    page.run("document.querySelector('.feature a').click()")
    page.until(f"document.querySelector('.panel h2')?.textContent === 'Latent {number}'")


def test_a_latent_by_its_address(browser, text_page):
    page = browser.open(text_page, "#latent=41")
    page.until("document.querySelector('.panel h2') !== null")
    heads = page.run("[...document.querySelectorAll('.panel h3')].map(n => n.textContent)")
    assert heads[3] == "Strongest examples"
    assert heads[-2:] == ["Decile 10, the strongest", "Decile 1, the weakest"]
    assert 41 in rows_of(page)
    peak = "document.querySelector('.panel .line-of-text .peak')"
    assert page.run(f"{peak}.textContent") == "word41"
    assert page.run(f"{peak}.title") == "word41: 2"
    minus = page.run("document.querySelector('.panel .line-of-text .minus').title")
    assert minus == " only41b: -0.5"
    page.run("document.querySelector('.neighbours a').click()")
    page.until("document.querySelector('.panel h2').textContent === 'Latent 42'")
    page.run("location.hash = '#latent=5000'")
    page.until("document.querySelector('.panel').textContent.includes('no latent 5000')")


def test_the_map_shows_and_opens_latents(browser, text_page):
    page = browser.open(text_page)
    box = page.run(
        "(b => (b.scrollIntoView(), [b.getBoundingClientRect().x, b.getBoundingClientRect().y, "
        "b.clientWidth, b.clientHeight]))(document.querySelector('canvas.map'))"
    )
    # Latent 0 lies at the left end of the map, which keeps 4 % free on each side.
    x, y = box[0] + 0.04 * box[2], box[1] + 0.5 * box[3]
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.until("!document.querySelector('.tip').hidden")
    assert page.text(".tip").startswith("latent ")
    number = int(page.text(".tip").split()[1])
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.until(f"location.hash === '#latent={number}'")


def test_images_are_drawn(browser, tmp_path):
    isthmus.fit("beta-vae", "digits", out=tmp_path / "v", latent_dim=4, steps=3, progress=False)
    page = browser.open(report(tmp_path / "v", progress=False), "#latent=2")
    page.until("document.querySelectorAll('.panel .strip canvas').length === 9 + 12 + 10 + 6")
    page.until("document.querySelectorAll('.thumb canvas').length === 4")
    kinds = page.run(
        "[...document.querySelectorAll('.panel canvas')].map(c => new Set(c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data).size)"
    )
    assert min(kinds) > 2  # no blank picture
    assert page.complaints() == []
    page.run("location.hash = '#overview'")
    # Twelve rows, what is rebuilt and where they differ; samples; four latents in nine steps.
    page.until("document.querySelectorAll('.overview .strip canvas').length === 36 + 24 + 36")
