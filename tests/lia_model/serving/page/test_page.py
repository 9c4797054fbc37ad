"""The page in a real browser, over a real service with a small model."""

import os
import shutil
from pathlib import Path

import pytest

from tests.lia_model.serving.page_service import page_service, shorten

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream "
    "--use-fake-ui-for-media-stream"
)
TIMEOUT_MS = 120_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.access(CHROMIUM, os.X_OK),
        reason="chromium is not installed: run `sudo infra/debian-packages.sh`",
    ),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory, models, samples):
    with page_service(tmp_path_factory.mktemp("service"), models, samples) as service:
        yield service


@pytest.fixture
def page(browser, service):
    errors = []
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if "Content Security" in message.text else None
    )
    page.goto(str(service.client.base_url))
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def clip(samples, tmp_path_factory):
    return shorten(samples / "single_face.mp4", tmp_path_factory.mktemp("clip") / "clip.mp4", 8)


def choose(page, picker, path: Path):
    page.locator(f"#{picker} input[type=file]").set_input_files(str(path))


def test_an_upload_becomes_a_result_that_plays_and_can_be_downloaded(page, clip):
    page.locator("#portrait").get_by_role("button", name="Single face").click()
    choose(page, "driving", clip)
    page.get_by_role("button", name="Animate", exact=True).click()
    page.locator("#result").wait_for()
    page.wait_for_function("document.getElementById('result-video').currentTime > 0")
    assert page.evaluate("document.getElementById('result-video').videoWidth") == 32
    assert page.locator("#made-by").inner_text().startswith("8 frames, made by lia 1")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
    page.get_by_role("tab", name="Jobs").click()
    page.locator("#job-list .succeeded").first.wait_for()


def test_a_clip_without_a_face_is_told_in_words(page, samples, tmp_path):
    faceless = shorten(samples / "no_face.mp4", tmp_path / "faceless.mp4", 6)
    page.locator("#portrait").get_by_role("button", name="Single face").click()
    choose(page, "driving", faceless)
    page.locator("#driving").get_by_text("No face is seen in the first frame").wait_for()
    page.get_by_role("button", name="Animate", exact=True).click()
    page.locator("#failure").wait_for()
    assert "no face in the driving file" in page.locator("#failure").inner_text()
    assert page.locator("#result").is_hidden()
    assert page.get_by_role("button", name="Animate", exact=True).is_enabled()


def test_a_slider_changes_the_picture_and_a_name_is_kept(page, clip):
    page.get_by_role("tab", name="Explore").click()
    choose(page, "subject", clip)
    page.locator("#live").wait_for()
    # A page may not fetch a blob under its policy, so the picture is read from a canvas.
    digest = """() => {
        const image = document.getElementById('live');
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = image.naturalWidth;
        canvas.getContext('2d').drawImage(image, 0, 0);
        return canvas.toDataURL();
    }"""
    before = page.evaluate(digest)
    page.get_by_role("slider", name="Direction 2").focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.wait_for_function(f"before => ({digest})() !== before", arg=before)
    page.get_by_label("Name of direction 2").fill("turn")
    page.get_by_label("Name of direction 2").press("Enter")
    page.get_by_role("slider", name="turn").wait_for()
    page.reload()
    page.get_by_role("tab", name="Explore").click()
    page.get_by_role("slider", name="turn").wait_for()
    page.get_by_label("Name of direction 2").fill("")
    page.get_by_label("Name of direction 2").press("Enter")
    page.get_by_role("slider", name="Direction 2").wait_for()


def test_the_crop_is_moved_by_keys_and_sent_with_the_job(page, clip, service):
    choose(page, "portrait", clip)
    square = page.locator("#portrait .square")
    square.wait_for()
    left = float(square.get_attribute("x"))
    square.focus()
    page.keyboard.press("ArrowRight")
    assert float(square.get_attribute("x")) > left
    choose(page, "driving", clip)
    page.get_by_role("button", name="Animate", exact=True).click()
    page.locator("#result").wait_for()
    (newest, *_) = service.jobs.newest(1, None, None)
    moved = [round(float(square.get_attribute(side))) for side in ("x", "y", "width")]
    assert newest.order.options.square == ":".join(map(str, moved))


def test_the_camera_records_a_driving_clip(page):
    page.locator("#driving").get_by_role("button", name="Use the camera").click()
    page.locator("#driving").get_by_role("button", name="Record").click()
    page.wait_for_timeout(700)
    page.locator("#driving").get_by_role("button", name="Stop").click()
    page.locator("#driving").get_by_text("No face is seen in the first frame").wait_for()


def test_the_new_options_reach_the_job_and_their_refusal_is_told(page, clip, service):
    choose(page, "portrait", clip)
    choose(page, "driving", clip)
    page.get_by_label("Height").select_option("128")
    page.get_by_label("Directions that follow").fill("1, 9")
    page.get_by_role("button", name="Animate", exact=True).click()
    page.locator("#failure").wait_for()
    assert "the model's directions are 1 to 4" in page.locator("#failure").inner_text()
    page.get_by_label("Directions that follow").fill("")
    page.get_by_label("Directions kept still").fill("2")
    page.get_by_role("button", name="Animate", exact=True).click()
    page.locator("#result").wait_for()
    assert page.evaluate("document.getElementById('result-video').videoWidth") == 128
    (newest, *_) = service.jobs.newest(1, None, None)
    assert newest.order.options.exclude_directions == "2"


def test_every_version_can_be_chosen_and_its_licences_are_shown(page):
    choice = page.locator("#options select[name=model]")
    choice.locator("option").nth(1).wait_for(state="attached")
    assert choice.locator("option").all_inner_texts() == ["lia, version 1 (champion)", "lia, version 0"]
    assert choice.input_value() == "models:/lia/1"
    licences = page.locator("#model-licences")
    assert licences.inner_text() == "Licence of its data: CC BY 4.0 (2 videos)."
    choice.select_option("models:/lia/0")
    assert licences.inner_text() == ""


def test_several_portraits_are_animated_by_one_clip(page, clip, service, tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    page.get_by_role("tab", name="Jobs").click()
    before = service.jobs.newest(1, None, None)
    batch = page.locator("#batch")
    batch.get_by_label("Portraits").set_input_files([str(clip), str(text), str(clip)])
    batch.get_by_label("Driving clip").set_input_files(str(clip))
    page.get_by_role("button", name="Animate all").click()
    page.get_by_text("2 of 3 are in the list below").wait_for()
    assert page.locator("#batch-failure").inner_text().startswith("Notes.jpg: source: got notes.jpg")
    added = [job.number for job in service.jobs.newest(10, None, None)]
    assert len([number for number in added if not before or number > before[0].number]) == 2
