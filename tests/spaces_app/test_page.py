"""The page in a real browser: a song is given, asked, described whole; files are captioned; and what goes wrong."""

import csv
import json
import os
import re
import time
from pathlib import Path

import pytest
from gradio_client import Client
from mullama.tests.spaces_app.conftest import EXAMPLES

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
PATIENCE = 200_000  # ms: a machine may be busy
expect.set_options(timeout=PATIENCE)

CHROMIUM = "/usr/bin/chromium"
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no {CHROMIUM}"),
    pytest.mark.timeout(600),
]

METAL, FLUTE = EXAMPLES / "sectoid_metal_madness.ogg", EXAMPLES / "rendered_flute_tune.ogg"
INSTRUMENTS, DETAIL, DESCRIBE = "Which instruments play?", "Describe the audio in detail.", "Describe the audio."
PLAYERS = "Is it a solo or a band?"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page as another visitor does; whatever it asks for elsewhere is refused, and fails the test."""
    contexts, elsewhere, errors = [], [], []

    def refuse(route):
        elsewhere.append(route.request.url)
        route.abort()

    def open_page(**how):
        how = {"viewport": {"width": 1280, "height": 1000}} | how
        contexts.append(browser.new_context(**how))
        contexts[-1].set_default_timeout(PATIENCE)
        contexts[-1].route(lambda url: not url.startswith((server.url, "data:", "blob:")), refuse)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(server.url, wait_until="domcontentloaded")
        page.locator("#song input[type=file]").wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert elsewhere == [] and errors == []


@pytest.fixture
def keep():
    """Saves a screenshot where MULLAMA_SCREENSHOTS says, by default in runs/screenshots."""
    folder = Path(os.environ.get("MULLAMA_SCREENSHOTS", EXAMPLES.parents[1] / "runs" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True)


def give(page, path: Path) -> None:
    """Upload a song, and wait until it was heard."""
    upload(page, path)
    expect(page.locator("#state")).to_contain_text(f"Heard {path.name}")


def upload(page, path: Path) -> None:
    if (remove := page.locator("#song").get_by_label("Clear")).count():
        remove.click()
    page.locator("#song input[type=file]").set_input_files(path)


def ask(page, question: str) -> None:
    box(page).fill(question)
    box(page).press("Enter")


def box(page):
    return page.locator("#question").get_by_role("textbox", name="Question")


def answers(page):
    return page.locator("#chat [data-testid=bot]")


def encoder_runs(server) -> int:
    return Client(server.url, verbose=False).predict(api_name="/status")["encoder_runs"]


def test_an_example_is_asked_and_answers_as_it_is_made(visit, expected, keep):
    page = visit()
    page.get_by_role("button", name="A metal band").click()
    expect(page.locator("#state")).to_contain_text("Heard sectoid_metal_madness.ogg, all 0:12 of it.")
    expect(page.get_by_role("img", name="Spectrogram of sectoid_metal_madness.ogg, high notes above")).to_be_visible()
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => {
            const text = [...document.querySelectorAll('#chat [data-testid=bot]')].at(-1)?.innerText.trim();
            if (text && text !== window.seen.at(-1)) window.seen.push(text);
        }).observe(document.getElementById('chat'), {subtree: true, childList: true, characterData: true});
    }""")
    page.get_by_role("button", name=DETAIL).click()
    whole = expected(METAL, DETAIL)
    expect(answers(page)).to_have_text([whole])
    seen = [text for text in page.evaluate("window.seen") if text != "..."]
    assert len(seen) > 3 and seen[-1] == whole
    assert all(whole.startswith(text) for text in seen) and seen == sorted(seen, key=len)
    keep(page, "talk")


def test_a_song_is_heard_once_however_often_it_is_asked(visit, server, clip, in_conversation):
    page, song = visit(), clip(METAL.name, "once.wav", 11.5)
    before = encoder_runs(server)
    give(page, song)
    assert encoder_runs(server) - before == 3  # windows of 5 s
    part_of_it = (DESCRIBE, 5, 10)
    truth = in_conversation(song, (INSTRUMENTS,), ("Are there drums?",), part_of_it, part_of_it)
    for count, question in enumerate((INSTRUMENTS, "Are there drums?"), start=1):
        ask(page, question)
        expect(answers(page)).to_have_text(truth[:count])
    assert encoder_runs(server) - before == 3
    assert box(page).input_value() == ""

    # A part of it is heard by itself, once as well, and marked.
    page.get_by_label("Ask from second").fill("5")
    page.get_by_label("to second").fill("10")
    part = page.locator("#spectrogram .part")
    share = 100 * 5 / 11.5  # both where it begins and how long it is
    expect(part).to_have_attribute("style", re.compile(rf"left: {share:.3f}\d*%; width: {share:.3f}\d*%"))
    for count in (3, 4):
        ask(page, DESCRIBE)
        expect(answers(page)).to_have_text(truth[:count])
    expect(page.locator("#chat [data-testid=user]").last).to_contain_text("0:05 to 0:10")
    assert encoder_runs(server) - before == 4


def test_the_whole_track_on_a_timeline_that_leads_into_it(visit, server, expected, keep):
    page = visit()
    page.get_by_role("button", name="A metal band").click()
    expect(page.locator("#state")).to_contain_text("Heard")
    before = encoder_runs(server)
    page.get_by_role("button", name="Describe the whole track").click()
    expect(page.locator("#timeline [role=status]")).to_have_text("3 windows, 0:12 in all. Choose one to hear it.")
    rows = page.locator("#timeline li")
    expect(rows.locator("time")).to_have_text(["0:00", "0:05", "0:10"])
    parts = [(0, 5), (5, 10), (10, 12)]
    expect(rows.locator("span")).to_have_text([expected(METAL, DESCRIBE, *part) for part in parts])
    assert encoder_runs(server) == before

    rows.nth(1).get_by_role("button").press("Enter")
    expect(rows.nth(1).get_by_role("button")).to_have_attribute("aria-current", "true")
    assert 5 <= page.evaluate("player.audio().currentTime") < 10
    assert not page.evaluate("player.audio().paused")
    window = page.locator("#spectrogram .window").evaluate("e => [e.style.left, e.style.width].map(parseFloat)")
    assert window == pytest.approx([100 * 5 / 12, 100 * 5 / 12], abs=0.1)
    keep(page, "timeline")

    # By the keyboard as well: the spectrogram is a slider.
    page.evaluate("player.audio().pause()")
    plot = page.get_by_role("slider", name="Position in the song")
    plot.press("Home")
    plot.press("ArrowRight")
    plot.press("ArrowRight")
    expect(plot).to_have_attribute("aria-valuetext", "0:02")


def test_files_are_captioned_and_the_captions_downloaded(visit, clip, expected, tmp_path, keep):
    songs = [clip(METAL.name, "Für Élise, live.wav", 6), clip(FLUTE.name, "flute.wav", 4)]
    broken = tmp_path / "broken.mp3"
    broken.write_text("Dear diary, today I heard a song.")
    page = visit()
    page.get_by_role("tab", name="Caption these files").click()
    page.locator("#files input[type=file]").set_input_files([songs[0], broken, songs[1]])
    expect(page.locator("#files")).to_contain_text("broken")
    page.get_by_role("button", name="Caption", exact=True).click()
    expect(page.locator("#progress")).to_have_text("2 of 3 captioned, 1 could not be.")
    keep(page, "captions")

    problem = "broken.mp3: not audio that can be decoded (tried wav, flac, ogg, mp3); is it really an audio file?"
    captions = [expected(song, DESCRIBE) for song in songs]
    rows = page.locator("#captions tbody tr")
    expect(rows.locator("th")).to_have_text([songs[0].name, "broken.mp3", "flute.wav"])
    expect(rows.locator("td:nth-child(2)")).to_have_text(["0:06", "", "0:04"])
    expect(rows.locator("td:nth-child(3)")).to_have_text([captions[0], problem, captions[1]])

    truth = [
        {"audio": songs[0].name, "duration": 6.0, "question": DESCRIBE, "caption": captions[0], "error": None},
        {"audio": "broken.mp3", "duration": None, "question": DESCRIBE, "caption": None, "error": problem},
        {"audio": "flute.wav", "duration": 4.0, "question": DESCRIBE, "caption": captions[1], "error": None},
    ]
    lines = download(page, "captions.jsonl", tmp_path).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == truth
    with download(page, "captions.csv", tmp_path).open(encoding="utf-8", newline="") as file:
        as_text = [{key: "" if value is None else str(value) for key, value in row.items()} for row in truth]
        assert list(csv.DictReader(file)) == as_text


def download(page, name: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).first.click()
    assert started.value.suggested_filename == name
    started.value.save_as(folder / name)
    return folder / name


def test_a_broken_file_is_told_kindly_and_the_next_question_works(visit, expected, clip, tmp_path, keep):
    broken = tmp_path / "diary.wav"
    broken.write_text("Dear diary, today I heard a song.\n" * 50)
    page = visit()
    ask(page, INSTRUMENTS)
    expect(answers(page)).to_have_text(["Give me a song first."])
    assert box(page).input_value() == INSTRUMENTS

    upload(page, broken)
    expect(page.locator("#state .problem")).to_contain_text("diary.wav: not audio that can be decoded")
    ask(page, INSTRUMENTS)
    expect(answers(page).last).to_contain_text("I could not answer. diary.wav: not audio that can be decoded")
    keep(page, "broken")

    song = clip(FLUTE.name, "after.wav", 3)
    give(page, song)
    expect(answers(page)).to_have_count(0)
    ask(page, INSTRUMENTS)
    expect(answers(page)).to_have_text([expected(song, INSTRUMENTS)])


def test_two_visitors_see_nothing_of_each_other(visit, server, clip, expected, in_conversation):
    songs = {"metal.wav": clip(METAL.name, "metal.wav", 7), "flute_alone.wav": clip(FLUTE.name, "flute_alone.wav", 7)}
    pages = {name: visit() for name in songs}
    for name, page in pages.items():
        upload(page, songs[name])
    for name, page in pages.items():
        expect(page.locator("#state")).to_contain_text(f"Heard {name}")
    for page in pages.values():  # both at once
        ask(page, DETAIL)
    for name, page in pages.items():
        expect(answers(page)).to_have_text([expected(songs[name], DETAIL)])
    assert expected(songs["metal.wav"], DETAIL) != expected(songs["flute_alone.wav"], DETAIL)

    # Who leaves takes the own files away, and no others.
    pages["metal.wav"].context.close()
    deadline = time.monotonic() + 30
    while server.uploaded("metal.wav") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not server.uploaded("metal.wav") and server.uploaded("flute_alone.wav")
    ask(pages["flute_alone.wav"], INSTRUMENTS)
    expect(answers(pages["flute_alone.wav"])).to_have_text(
        in_conversation(songs["flute_alone.wav"], (DETAIL,), (INSTRUMENTS,))
    )


def test_the_conversation_is_remembered_unless_one_does_not_want_it(visit, expected, in_conversation):
    page = visit()
    page.get_by_role("button", name="A flute tune").click()
    expect(page.locator("#state")).to_contain_text("Heard")
    alone = [expected(FLUTE, DESCRIBE), expected(FLUTE, PLAYERS)]
    together = in_conversation(FLUTE, (DESCRIBE,), (PLAYERS,))
    assert together != alone
    for count, question in enumerate((DESCRIBE, PLAYERS), start=1):
        ask(page, question)
        expect(answers(page)).to_have_text(together[:count])

    page.get_by_role("button", name="New conversation").click()
    expect(answers(page)).to_have_count(0)
    ask(page, PLAYERS)
    expect(answers(page)).to_have_text([expected(FLUTE, PLAYERS)])

    page.get_by_role("button", name="New conversation").click()
    remember = page.get_by_label("Answer with the conversation so far in mind")
    expect(remember).to_be_hidden()  # the settings are folded away
    page.locator("#settings").get_by_role("button", name="Settings").click()
    remember.uncheck()
    for count, question in enumerate((DESCRIBE, PLAYERS), start=1):
        ask(page, question)
        expect(answers(page)).to_have_text(alone[:count])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_by_day_and_by_night(visit, keep, scheme):
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme=scheme)
    page.get_by_role("button", name="A flute tune").click()
    expect(page.locator("#state")).to_contain_text("Heard")
    page.get_by_role("button", name=INSTRUMENTS).click()
    expect(answers(page)).to_have_count(1)
    page.get_by_role("button", name="Describe the whole track").click()
    expect(page.locator("#timeline li")).to_have_count(2)
    for tab in ("Talk about a song", "Caption these files"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        keep(page, f"phone_{scheme}_{tab.split()[0].lower()}")

    brightness = (
        "e => getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    )
    shade = page.locator("body").evaluate(brightness)
    assert shade < 60 if scheme == "dark" else shade > 220


def test_the_page_says_who_answers_and_how_sure_one_may_be(visit):
    page = visit()
    expect(page.locator("#introduction")).to_contain_text("mullama-tiny answers: ")
    page.get_by_role("button", name="How sure may one be?").click()
    card = (EXAMPLES.parents[1] / "checkpoints" / "mullama-tiny" / "README.md").read_text(encoding="utf-8")
    measured = card.partition("\n## Measured\n")[2].partition("\n## ")[0]
    cells = [row.strip("|").split("|") for row in measured.splitlines() if row.startswith("| ")]
    assert len(cells) > 5
    shares = [float(figure) for _, figure, *_ in cells[1:]]
    for share in (max(shares), min(shares)):
        expect(page.locator("#introduction")).to_contain_text(f"{share:.0%}")
    for name, figure, *_ in cells[1:]:
        row = page.locator("#card tr", has_text=name.strip()).first
        expect(row.locator("td").nth(1)).to_have_text(figure.strip())

    # Every control has a name that a screen reader can say.
    page.locator("#settings").get_by_role("button", name="Settings").click()
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, input, textarea, select, [role=slider]')]
        .filter((e) => e.checkVisibility({visibilityProperty: true}) && !e.closest('[aria-hidden=true]'))
        .filter((e) => !(e.getAttribute('aria-label') || e.title || e.innerText?.trim() || e.labels?.length))
        .map((e) => e.outerHTML)""")
    assert nameless == []
