"""compare(): scores side by side, with intervals of their differences."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import molflow
from molflow.build import UserError
from molflow.cli import main
from molflow.comparing import Difference
from molflow.data.store import Store
from molflow.metrics.rate import Rate


@st.composite
def rates(draw):
    of = draw(st.integers(1, 500))
    return Rate(draw(st.integers(0, of)), of)


def test_newcombes_example():
    found = Difference.of(Rate(48, 80), Rate(56, 70))  # Newcombe 1998, table II (a), method 10
    assert found.value == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.beyond_chance


@given(rates(), rates())
def test_a_difference_turns_with_its_sides_and_lies_within_its_interval(a, b):
    there, back = Difference.of(a, b), Difference.of(b, a)
    assert there.value == -back.value
    assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))
    assert -1 <= there.ci95[0] <= there.value <= there.ci95[1] <= 1
    assert not Difference.of(a, a).beyond_chance


def test_what_was_not_measured_has_no_difference():
    assert Difference.of(Rate(0, 0, "no reference was given"), Rate(1, 2)) is None


@pytest.fixture(scope="module")
def files(few_molecules, tmp_path_factory):
    folder, store = tmp_path_factory.mktemp("compare"), Store(few_molecules)
    whole = store.batch(range(40))
    rough = whole.replace(pos=whole.pos * 1.4)
    for name, batch in (("a.sdf", whole), ("b.sdf", rough), ("few.sdf", whole[:10])):
        molflow.write(batch, folder / name)
    molflow.write(whole, folder / "a.xyz")
    return folder


def test_each_column_is_a_report_and_stretched_molecules_differ_beyond_chance(files):
    found = molflow.compare({"a": files / "a.sdf", "b": files / "b.sdf"}, workers=0)
    for name, column in (("a", 0), ("b", 1)):
        alone = molflow.score(files / f"{name}.sdf", protocols=["edm", "strict"])
        for (protocol, rate), values in found.rates.items():
            assert values[column] == alone[protocol].rates[rate]
    assert Difference.of(*found.rates["edm", "molecule_stable"]).beyond_chance
    assert not Difference.of(*found.rates["strict", "valid"]).beyond_chance  # its bonds are as they were
    again = molflow.compare(found.reports)  # of reports that are there already
    assert again.table() == found.table()


def test_the_command_prints_a_table_and_writes_every_figure(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(files)
    out = tmp_path / "compare.json"
    assert main(["compare", "a.sdf", "b.sdf", "few.sdf", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "a: a.sdf" in shown and "c: few.sdf" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("edm molecule_stable")]
    assert line.count("*") == 1 and "the sets differ in number (a.sdf 40, b.sdf 40, few.sdf 10)" in shown
    told = json.loads(out.read_text())
    assert told["first"] == "a.sdf" and set(told["reports"]) == {"a.sdf", "b.sdf", "few.sdf"}
    gap = told["differences"]["b.sdf"]["edm"]["molecule_stable"]
    stable = [told["reports"][name]["protocols"]["edm"]["molecule_stable"]["value"] for name in ("a.sdf", "b.sdf")]
    assert gap["value"] == pytest.approx(stable[1] - stable[0]) and gap["ci95"][1] < 0
    assert not {"atom_stable", "unique", "novel"} & {*told["differences"]["b.sdf"]["edm"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.sdf", "at least two sets to compare, not 1"),
        ("a.sdf a.sdf", "named twice"),
        ("a.sdf a.xyz --protocol strict", "no protocol applies to all of them .strict: no bonds in the input .a.xyz"),
        ("a.sdf absent.sdf", "absent.sdf"),
        ("a.sdf b.sdf --protocol edn", "did you mean 'edm'"),
        ("a.sdf b.sdf --json a.sdf --overwrite", "would replace what is read"),
    ],
)
def test_mistakes_are_explained(files, capsys, monkeypatch, line, message):
    import re

    monkeypatch.chdir(files)
    assert main(["compare", *line.split()]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_reports_that_were_measured_against_other_molecules_do_not_compare(files):
    given = [molflow.score(files / "a.sdf", reference=files / name) for name in ("b.sdf", "few.sdf")]
    with pytest.raises(UserError, match="where seed and reference are the same"):
        molflow.compare({"a": given[0], "b": given[1]})


def test_what_is_left_out_is_said(files):
    found = molflow.compare({"a": files / "a.sdf", "x": files / "a.xyz"}, reference=iter(molflow.read(files / "b.sdf")))
    assert ("edm", "valid") in found.rates and ("strict", "valid") not in found.rates
    assert "strict is left out: no bonds in the input (x)" in found.warnings


def test_what_has_no_molecules_is_named():
    with pytest.raises(UserError, match="no molecules in b"):
        molflow.compare({"a": [None], "b": []})
