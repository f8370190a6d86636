"""A training run as a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from chromium import Chromium, find

import molflow
from molflow.build import UserError
from molflow.run import Run
from molflow.viewer import page
from molflow.viewer.run import evaluations, measured

METRICS = """step,molecules,seconds,molecules_per_second,lr,loss,loss_pos,val_loss,edm_molecule_stable,strict_valid
1,32,0.2,160,1e-5,8.0,0.9,,,
50,1600,9.0,178,1e-3,2.0,0.5,,,
50,1600,9.5,,,,,1.9,0.25,0.5
100,3200,18.0,178,1e-3,1.0,0.4,,,
100,3200,18.5,,,,,1.1,0.5,0.75
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run with the shipped model, and figures by hand."""
    import shutil

    import molflow

    folder = tmp_path_factory.mktemp("runs") / "a <b>run</b>"
    shutil.copytree(Path(molflow.__file__).parent / "pretrained" / "small", folder)
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "config.yaml").write_text("data: {path: '</script><b>x</b>'}\n")
    (folder / "origin.json").write_text(json.dumps({"molflow": "0.1.0", "data": "<i>set</i>"}))
    return folder


@pytest.fixture(scope="module")
def run_html(run_folder):
    return page(run_folder, samples=0).html()


def test_the_page_says_what_the_run_did(run_html):
    assert "100 steps, 3,200 molecules seen" in run_html
    assert "50 % molecules stable (edm), 75 % valid (strict)" in run_html
    assert run_html.count('<svg class="plot"') == 5  # loss and its part, rate, speed, quality
    assert "&lt;i&gt;set&lt;/i&gt;" in run_html and "<b>x" not in run_html and "<b>run" not in run_html


def test_its_policy_allows_one_script_and_one_style(run_html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', run_html)[1]
    assert "unsafe" not in policy and policy.count("sha256-") == 2


def test_paths_go_from_noise_to_a_molecule(run_html):
    data = json.loads(re.search(r'id="data">(.*?)</script>', run_html, re.S)[1])
    assert data["times"][0] == 0 and data["times"][-1] == 1
    for way in data["paths"]:
        assert len(way["frames"]) == len(data["times"])
        assert len({len(frame["pos"]) for frame in way["frames"]}) == 1
        assert way["frames"][-1]["bonds"]


def test_quality_has_an_interval_at_each_number_of_steps(run_folder):
    import molflow

    lines = evaluations(molflow.load(run_folder, "cpu"), 4, (2, 3), seed=0)
    assert [line.x for line in lines] == [[2, 3], [2, 3]]
    for line in lines:
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high))


def test_a_run_without_a_model_yet_shows_its_curves(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    made = page(tmp_path).html()
    assert 'class="plot"' in made and "<canvas" not in made


def test_steps_without_a_finite_loss_are_not_drawn(tmp_path):
    more = ["150,4800,27.0,178,1e-3,nan,inf,,,", "200,6400,36.0,178,1e-3,0.9,0.3,,,"]
    (tmp_path / "metrics.csv").write_text(METRICS + "".join(f"{line}\n" for line in more))
    losses = measured(Run(tmp_path))["loss"]
    assert losses == [(1, 8.0), (50, 2.0), (100, 1.0), (200, 0.9)]
    assert 'class="plot"' in page(tmp_path).html()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        page(tmp_path)


def test_the_path_plays_in_a_browser(run_html, tmp_path):
    program = find()
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium, or name one in the variable CHROMIUM")
    path = tmp_path / "run.html"
    path.write_text(run_html, encoding="utf-8")
    window = Chromium(program)
    try:
        window.open(path)
        window.until("document.documentElement.dataset.ready === 'yes'")
        frame = "Number(document.getElementById('path').dataset.frame)"
        window.until(f"{frame} > 2 && {frame} < 40")  # it plays
        window.run("document.getElementById('play').click()")
        here = window.run(frame)
        window.press("ArrowRight")
        assert window.run(frame) in (here, here + 1)  # the button has the focus of no key
        colours = window.run(
            "(() => { const c = document.getElementById('path'), p = c.getContext('2d');"
            " return new Set(new Uint32Array(p.getImageData(0, 0, c.width, c.height).data.buffer)).size; })()"
        )
        assert colours > 100
        assert window.said == [] and window.requested == []
    finally:
        window.close()


@pytest.mark.parametrize(("solver", "expected"), [("multistep", [2, 3]), ("midpoint", [4, 6])])
def test_quality_is_drawn_against_evaluations_of_the_network(solver, expected):
    model = molflow.load("small", "cpu")
    model.defaults = model.defaults.updated(solver=solver)
    assert [list(line.x) for line in evaluations(model, 3, (2, 3), seed=0)] == [expected, expected]


def test_the_evaluations_of_an_adaptive_method_are_those_it_took():
    model = molflow.load("small", "cpu")
    model.defaults = model.defaults.updated(solver={"name": "dopri5", "rtol": 0.1, "atol": 0.1})
    (spent, _), _ = (line.x for line in evaluations(model, 2, (2, 3), seed=0))
    model.sample(2, seed=0, steps=2)
    assert spent == model.evaluations > 2


def test_learned_grids_are_drawn_where_there_are_some():
    model = molflow.load("small", "cpu")
    model.defaults = model.defaults.updated(grid="learned")
    model.grids = {3: [0, 0.3, 0.7, 1]}
    assert [line.x for line in evaluations(model, 2, (2, 3), seed=0)] == [[3], [3]]


def test_what_was_not_measured_is_not_drawn(monkeypatch):
    """Of molecules without hydrogens the protocols say nothing, and so does the page."""
    model, bond = molflow.load("small", "cpu"), torch.tensor([[[0, 3], [3, 0]]])
    bare = molflow.Batch.of_sizes([2]).replace(atom=torch.tensor([[6, 7]]), bond=bond)
    bare = bare.replace(pos=torch.tensor([[[0.0, 0, 0], [1.15, 0, 0]]]))
    monkeypatch.setattr(model, "sample", lambda *_, **__: bare)
    assert evaluations(model, 1, (2,), seed=0) == []
