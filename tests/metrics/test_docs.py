"""docs/scoring.md tells what the code does."""

from __future__ import annotations

import json
import re

import pytest
from shapes import drawn

from molflow.metrics import METRICS, PROTOCOLS
from molflow.metrics.intake import of_mols
from molflow.metrics.protocol import Tally
from molflow.metrics.rows import COLUMNS
from molflow.metrics.shard import protocol


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "docs" / "scoring.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_explained_with_an_example_worked_by_hand(text, name):
    section = re.search(rf"\n### {name}\n(.*?)\n##", text, re.S)
    assert section and "By hand" in section[1]
    if name in PROTOCOLS:
        assert "Source" in section[1]


def test_every_rate_and_column_is_named(text):
    for name in (*protocol("jodo").rates(Tally()), *COLUMNS):
        assert f"`{name}`" in text or f"**{name}**" in text, name


def test_the_ceilings_are_those_of_the_benchmark(text, root):
    rows = json.loads((root / "benchmarks" / "results" / "scoring_ceilings.json").read_text())["rows"]
    rates = ("atom_stable", "molecule_stable", "valid", "connected", "unique", "novel")
    for row in rows:
        line = (
            f"| {row['molecules']} | {row['n']:,} | `{row['protocol']}` | {' | '.join(row[rate] for rate in rates)} |"
        )
        assert line in text


def test_the_example_of_edm(text):
    water = drawn("OHH", pos=[[0, 0, 0], [0.96, 0, 0], [3.0, 0, 0]])
    ours = protocol("edm").judge(of_mols([water]))
    assert (int(ours.stable_atoms[0]), bool(ours.valid[0]), bool(ours.connected[0])) == (1, True, False)
    assert ours.smiles == ["[H]O"] and "recorded as `[H]O`" in text
