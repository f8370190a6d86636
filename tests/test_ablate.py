"""Every arm of benchmarks/ablate.py is a configuration that can be built."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

from molflow.build import UserError
from molflow.checkpoint import save
from molflow.config import dump_config
from molflow.data.store import Store
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.training.optimizers import make_optimizer

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "ablate.py"


def loaded(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ablate():
    return loaded(FILE)


def test_every_arm_builds_and_differs_from_the_base(ablate, few_molecules):
    given = argparse.Namespace(data=few_molecules, molecules=480, config=FILE.parent.parent / "configs/qm9_cpu.yaml")
    store, seen = Store(few_molecules), []
    for arm in ablate.ARMS:
        config = ablate.overridden(given, arm, seed=3)
        assert config.seed == 3 and config.train.epochs == 10  # 480 molecules are ten times the 48 of the file
        assert config not in seen, f"{arm} repeats an earlier arm"
        seen.append(config)
        if not ablate.only_samples(arm):
            model = make_model(config, Facts.of(store, config))
            make_objective(config, model)
            make_optimizer(model.network, config.train)


def test_arms_of_sampling_alone_are_told_from_those_that_train(ablate):
    assert ablate.only_samples("linear grid") and not ablate.only_samples("adamw")
    assert not ablate.only_samples("base"), "the base is what they sample"


def test_a_run_that_was_trained_otherwise_is_not_taken_for_the_arm(ablate, few_molecules, tmp_path):
    config = FILE.parent.parent / "configs/qm9_cpu.yaml"
    given = argparse.Namespace(data=few_molecules, molecules=480, config=config)
    (tmp_path / "config.yaml").write_text(dump_config(ablate.overridden(given, "base", 0)))
    ablate.check_same(tmp_path, ablate.overridden(given, "linear grid", 0))  # its way of sampling is another's affair
    for arm in ("adamw", "batches of 8,000 pairs", "no hint"):
        with pytest.raises(UserError, match="was trained with another (train|data|loss): move it away"):
            ablate.check_same(tmp_path, ablate.overridden(given, arm, 0))


def test_the_errors_of_a_network_that_moves_nothing_are_those_of_the_noise(ablate, few_molecules, tmp_path):
    """It takes x_t for the end, so its error falls as 1 - t on the same noise; of labels it knows nothing."""
    file = FILE.parent.parent / "configs/qm9_cpu.yaml"
    given = argparse.Namespace(data=few_molecules, molecules=480, config=file)
    config = ablate.overridden(given, "base", 0)
    facts = Facts.of(Store(few_molecules), config)
    weights = make_model(config, facts).network.state_dict()
    save(tmp_path / "model", weights, config, facts, {})
    found = ablate.errors(config, tmp_path / "model")
    assert set(found) == {"pos", "atom", "bond"} and all(len(row) == len(ablate.TIMES) for row in found.values())
    scaled = [error / (1 - t) for error, t in zip(found["pos"], ablate.TIMES)]
    assert scaled == pytest.approx([scaled[0]] * len(scaled), rel=0.01) and scaled[0] > 0.5  # angstrom
    assert min(found["atom"]) > 0.5


def test_the_page_has_the_rows_of_the_results():
    show = loaded(FILE.with_name("ablate_show.py"))
    results = json.loads((FILE.parent / "results" / "ablate.json").read_text())
    page = (FILE.parent.parent / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert show.filled(page, results) == page, "python benchmarks/ablate_show.py writes it anew"
    lines = page.split("## Errors")[0].splitlines()
    assert sum(line.startswith("| ") and not line.startswith("| arm |") for line in lines) == len(results["arms"])
