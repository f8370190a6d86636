"""tools/blend.py: the weighted mean of a model and the one that it was trained on from."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from molflow.checkpoint import load, read_card, read_weights, save
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.facts import Facts

FACTS = Facts(Vocabulary(("H", "C"), (), (0, 1)), Sizes({4: 1}), 1.5, 3)
NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture
def make(tmp_path, stirred):
    def made(name, seed, **network):
        config = parse_config({"network": {**NETWORK, **network}})
        save(tmp_path / name, stirred(config, FACTS, seed, by=0.2).network.state_dict(), config, FACTS, {"steps": seed})
        return tmp_path / name

    return made


@pytest.fixture
def blend(root, monkeypatch):
    spec = importlib.util.spec_from_file_location("blend", root / "tools/blend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["blend.py", *map(str, words)])
        module.main()

    return run


def test_each_weight_is_the_mean_and_what_only_the_later_has_is_its_own(make, blend, tmp_path):
    before, after, out = make("before", 1), make("after", 2, census=True), tmp_path / "mean"
    blend(after, before, "--share", "0.25", "--out", out)
    old, new, mean = map(read_weights, (before, after, out))
    assert set(mean) == set(new) > set(old)
    for name, value in mean.items():
        expected = 0.25 * new[name] + 0.75 * old[name] if name in old else new[name]
        torch.testing.assert_close(value, expected)
    card = read_card(out)
    assert card.config == read_card(after).config
    assert card.provenance == {"steps": 2, "blended with": {"model": "before", "share": 0.75}}
    assert len(load(out, "cpu").sample(2, steps=2)) == 2


def test_what_does_not_go_together_is_refused_and_nothing_is_written(make, blend, tmp_path):
    before, after = make("before", 1), make("after", 2, width=24)
    out = tmp_path / "mean"
    for words in ((after, before, "--out", out), (before, before, "--out", before), ("qm10", before, "--out", out)):
        with pytest.raises(SystemExit) as told:
            blend(*words)
        assert told.value.code == 2
    assert not out.exists()
