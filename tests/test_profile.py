"""molflow train --profile: a table of the parts of a step that adds up."""

from __future__ import annotations

import re
import time

import pytest
import torch
import yaml

from molflow.cli import main
from molflow.device import saved_bytes
from molflow.training.profiling import AVERAGE, FORWARD, HINT, PARTS, REST, Stopwatch

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_it_tells_where_a_step_goes_and_writes_nothing(few_molecules, tmp_path, monkeypatch, capsys, workers):
    data = {"path": str(few_molecules), "pairs": 4000, "workers": workers}
    values = {"data": data, "network": NETWORK, "train": {"device": "cpu"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "c.yaml", "--profile"]) == 0
    text = capsys.readouterr().out
    rows = dict(re.findall(r"^(.+?)  +(\d+\.\d+) +(?:\d+\.\d%|workers)$", text, re.M))
    assert list(rows) == [*PARTS, "together"]
    shares = [float(share) for share in re.findall(r" (\d+\.\d)%$", text, re.M)][: len(PARTS) + 1 - 2 * bool(workers)]
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5)
    assert shares[-1] == 100
    for fact in ("molecules per second", "MiB a molecule", "GFLOP a molecule", "GFLOP/s, so the network runs at"):
        assert fact in text
    assert ("% busy: 2 of them" in text) == bool(workers)
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_a_part_within_a_part_is_taken_off_the_outer(monkeypatch):
    """The outer one runs from 0 to 10 s, with parts from 1 to 4 and from 5 to 7 in it: 5 s are its own."""
    clock = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    with watch.part(REST):
        for name in (HINT, FORWARD):
            with watch.part(name):
                pass
    assert [watch.seconds[name] for name in (HINT, FORWARD, REST, AVERAGE)] == [3, 2, 5, 0]


def test_memory_for_the_backward_pass_is_counted_once_and_without_weights():
    """exp keeps its result, the product both of its factors, of which one is that result: 3 x 4 kB in all."""
    weight = torch.randn(1000, requires_grad=True)
    x, y = torch.randn(1000, requires_grad=True), torch.randn(1000, requires_grad=True)
    assert saved_bytes(lambda: (x.exp() * y) * weight, [weight]) == 3 * 4000
