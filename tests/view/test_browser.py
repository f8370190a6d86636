"""Pages in a real Chromium without a window and without a network."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from chromium import Chromium, find

from molflow.viewer import page

POINTS = "document.querySelector('#map > div').shadowRoot.querySelectorAll('path.point')"
SELECTED = "document.getElementById('selected').dataset.index"


@pytest.fixture(scope="module")
def browser():
    program = find()
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium, or name one in the variable CHROMIUM")
    window = Chromium(program)
    yield window
    window.close()


@pytest.fixture(scope="module")
def report(small_sdf, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    page(small_sdf, strain=False).write(path)
    return path


@pytest.fixture(scope="module")
def opened(browser, report):
    """A window that shows the report."""
    browser.open(report)
    browser.until(f"document.documentElement.dataset.ready && {POINTS}.length")
    return browser


def pixels(window, selector: str) -> np.ndarray:
    """What is seen of an element, a little inside its border, [height, width, 3]."""
    from PIL import Image

    x, y, width, height = window.run(
        f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect();"
        " return [r.x, r.y, r.width, r.height].map(Math.round); })()"
    )
    picture = np.asarray(Image.open(io.BytesIO(window.picture())).convert("RGB"))
    return picture[y + 40 : y + height - 8, x + 8 : x + width - 8]


def place(window, k: int) -> tuple[float, float]:
    return tuple(
        window.run(
            f"(() => {{ const r = {POINTS}[{k}].getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
    )


def test_the_page_loads_offline_under_its_policy_without_a_word(opened):
    assert opened.run("document.documentElement.dataset.ready") == "yes"
    assert opened.said == []
    assert opened.requested == []


def test_the_viewer_and_the_map_draw(opened):
    seen = pixels(opened, "#structure")
    drawn = (seen != 255).any(-1).mean()
    assert 0.005 < drawn < 0.9  # atoms on a white ground
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 50  # shaded, not a message
    assert opened.run(f"{POINTS}.length") >= 8  # and the marks of what is chosen


def test_a_click_on_a_point_shows_that_molecule(opened):
    before = pixels(opened, "#structure")
    opened.click(*place(opened, 3))
    opened.until(f"{SELECTED} === '3'")
    assert "C1CC1" in opened.run("document.getElementById('selected').textContent")
    opened.until("window.molflow.visualizer.info._indexes().structure === 3")
    after = pixels(opened, "#structure")
    assert (before != after).any()


def test_keys_move_on_and_back(opened):
    opened.run("window.molflow.go(5)")
    opened.press("ArrowRight")
    assert opened.run(SELECTED) == "6"
    opened.press("ArrowLeft")
    opened.press("ArrowLeft")
    assert opened.run(SELECTED) == "4"
    assert opened.run("window.molflow.visualizer.info._indexes().structure") == 4
    opened.run("window.molflow.go(-1)")
    assert opened.run(SELECTED) == "7"


def test_a_phone_scrolls_in_one_direction_only(opened):
    opened.size(390, 800)
    assert opened.run("document.documentElement.scrollWidth") <= 390
    opened.size(1280, 900)


def test_the_policy_stops_what_a_page_might_try(opened):
    """Last on this page: it makes the console speak."""
    assert opened.run("fetch('https://example.org/').then(() => 'loaded', () => 'refused')") == "refused"
    opened.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')")
    opened.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert opened.run("document.title !== '1' && window.ran === undefined")
    for what in ("event handler", "inline script", "https://example.org"):
        deadline = time.monotonic() + 60
        while not any("Content Security Policy" in line and what in line for line in opened.said):
            assert time.monotonic() < deadline, f"the policy did not stop the {what}: {opened.said}"
            opened.run("1")
            time.sleep(0.1)


def test_hostile_names_do_nothing(browser, hostile_sdf, tmp_path):
    path = tmp_path / "hostile.html"
    page(hostile_sdf, strain=False).write(path)
    browser.open(path)
    browser.until("document.documentElement.dataset.ready")
    title = browser.run("document.title")
    for _ in range(3):
        browser.press("ArrowRight")
    assert "onerror" in browser.run("document.getElementById('selected').textContent")  # shown as the text that it is
    assert browser.run("document.title") == title != "hacked"
    assert browser.run("document.querySelectorAll('img, [onclick], [onerror]').length") == 0
    assert browser.said == []
    assert browser.requested == []
