"""What benchmarks/paths.py reads out of its cells, on cells written by hand."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def modules(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import paths_book
    import paths_plan
    import paths_tables

    yield paths_book, paths_plan, paths_tables
    for name in ("common", "paths_book", "paths_plan", "paths_tables"):
        sys.modules.pop(name, None)


def cell(system, seed, curve, name):
    figures = {str(e): {"strict valid": value, "cpu": 0.1 * e} for e, value in curve.items()}
    return {"system": system, "variant": "", "seed": seed, "train": {}, f"curve {name}": figures}


@pytest.fixture
def results(modules):
    _, plan, tables = modules
    cells = {
        "a": cell("diffusion", 0, {5: 0.1, 20: 0.5, 50: 0.70, 100: 0.78}, "ancestral"),
        "b": cell("diffusion", 1, {5: 0.1, 20: 0.5, 50: 0.72, 100: 0.82}, "ancestral"),
        "c": cell("linear", 0, {5: 0.3, 20: 0.77, 50: 0.85, 100: 0.85}, "euler"),
    }
    return tables.Results("small", plan.TASKS["small"], cells)


def test_diffusions_best_is_the_mean_over_seeds_of_its_best_point(results):
    assert results.best("diffusion") == pytest.approx(0.80)


def test_a_system_arrives_at_the_fewest_evaluations_that_reach_the_level(results):
    """95 % of diffusion's 0.80 is 0.76: linear's 0.77 at 20 evaluations reaches it, diffusion's 0.71 at 50 does not."""
    assert results.first("linear", 0.95 * 0.80) == (20, "euler")
    assert results.first("diffusion", 0.95 * 0.80) == (100, "ancestral")
    assert results.first("linear", 0.9) is None


def test_the_seconds_saved_are_those_of_the_two_arrivals(results, modules):
    table = modules[2].arrival(results)
    assert table[2] == ["linear", "85.0 %", "50 (euler)", "20 (euler)", "5.0 x"]


def test_points_in_the_plane_are_better_the_lower_their_distance(modules):
    _, plan, tables = modules
    curve = {"5": {"w2": 0.4, "cpu": 1.0}, "20": {"w2": 0.2, "cpu": 4.0}}
    cells = {
        "data | floor | 0": {"system": "data", "variant": "floor", "seed": 0, "w2": [0.1, 0.1]},
        "x": {"system": "linear", "variant": "", "seed": 0, "train": {}, "curve euler": curve},
    }
    results = tables.Results("crescents", plan.TASKS["crescents"], cells)
    assert results.best("linear") == pytest.approx(0.5)
    assert results.first("linear", 0.25) == (5, "euler")


def test_a_cell_is_written_part_by_part_and_read_back(modules, tmp_path):
    book = modules[0].Book(tmp_path / "paths_x.json", "protocol")
    book.put("linear", "", 0, "curve euler", {"5": {"w2": 0.5}})
    book.put("linear", "", 0, "curve euler", {"10": {"w2": 0.25}})
    assert book.cell("linear", "", 0)["curve euler"] == {"5": {"w2": 0.5}, "10": {"w2": 0.25}}


def test_every_path_of_coordinates_has_a_system(modules):
    from molflow.build import resolve
    from molflow.paths import PATHS
    from molflow.paths.affine import Positions

    _, plan, _ = modules
    for task in plan.TASKS.values():
        paths = {system.path["name"] for system in task.systems.values()}
        missing = {name for name, target in PATHS.items() if issubclass(resolve(target), Positions)} - paths
        assert missing == {"custom"}  # which is the linear one until it is given formulas


def test_every_cell_is_an_experiment_that_can_be_built(modules, root):
    """All systems under all changes: their configurations are read, and their objectives made."""
    from molflow.data.store import Store
    from molflow.experiment import make_model, make_objective
    from molflow.facts import Facts

    _, plan, _ = modules
    task, data = plan.QUICK["small"], root / "data" / "small.safetensors"
    config = task.at("diffusion", "", 0, data)
    facts = Facts.of(Store(data), config)
    for name, system in task.systems.items():
        for variant in ("", "lr x 3", "uniform times", "predicts noise"):
            config = task.at(name, variant, 0, data)
            if not system.after:
                make_objective(config, make_model(config, facts))
