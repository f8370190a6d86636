"""What every protocol and every measurement must do, whatever it measures."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))

from shapes import SMILES, drawn, embedded, moved, perturbed, relabelled

from molflow import plugins
from molflow.build import UserError, resolve
from molflow.metrics import MEASUREMENTS, METRICS, PROTOCOLS
from molflow.metrics.intake import of_mols
from molflow.metrics.measurement import How, Reference, plain
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate
from molflow.metrics.subset import Subset

BROUGHT = {*plugins.installed("protocol"), *plugins.installed("measurement")}
NAMES = pytest.mark.parametrize("name", METRICS)
SOME = [smiles for smiles in SMILES if smiles not in ("N#N", "O=C=O")][::3]


def installed(name: str):
    metric = resolve(METRICS[name])()
    if name in MEASUREMENTS:
        try:
            metric.require()
        except UserError as missing:
            pytest.skip(str(missing))
    return metric


@cache
def training() -> Reference:
    molecules = of_mols([embedded(smiles, seed) for seed in (1, 2) for smiles in SOME])
    return Reference(molecules[: len(SOME)], molecules[len(SOME) :])


def figures(name: str, molecules: Molecules) -> dict:
    """Everything the metric says of the molecules, against the training set."""
    metric = installed(name)
    if name in PROTOCOLS:
        return metric.rates(metric.measure(molecules), metric.measure(training().train).seen)
    return metric.figures(molecules, training(), How(workers=1, timeout=60.0))


def library() -> Molecules:
    return of_mols([*(embedded(smiles) for smiles in SOME), None, METHYL])


def assert_alike(a, b, tolerance: float) -> None:
    a, b = plain(a), plain(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_alike(a[key], b[key], tolerance)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_alike(x, y, tolerance)
    elif isinstance(a, float):
        assert b == pytest.approx(a, rel=tolerance, abs=tolerance)
    else:
        assert a == b


@NAMES
@pytest.mark.parametrize("which", ["none", "all failed", "one"])
def test_figures_are_finite(name, which):
    molecules = {"none": [], "all failed": [None, None], "one": [embedded("CO")]}[which]
    json.dumps(plain(figures(name, of_mols(molecules))), allow_nan=False)


@NAMES
def test_failed_molecules_stay_in_the_denominator(name):
    good = [embedded(smiles) for smiles in SOME[:4]]
    found, worse = (plain(figures(name, of_mols(mols))) for mols in (good, [*good, None, None]))
    assert denominators(worse) >= denominators(found), (found, worse)
    if name in PROTOCOLS:
        assert worse["molecule_stable"]["of"] == worse["valid"]["of"] == 6


def denominators(found: dict) -> int:
    """The largest number that anything is said to be a share of."""
    if not isinstance(found, dict):
        return 0
    own = found["of"] if isinstance(found.get("of"), int) else 0
    return max([own, *(denominators(value) for value in found.values())])


@NAMES
def test_the_denominator_is_stated(name):
    metric = resolve(METRICS[name])()
    assert metric.summary and metric.source
    if name in MEASUREMENTS:
        assert metric.denominator
        return
    assert metric.denominators().keys() == metric.rates(metric.measure(library())).keys()
    assert metric.defect and all(metric.denominators().values())


@NAMES
def test_a_rate_lies_in_its_interval(name):
    def check(value):
        if isinstance(value, Rate) and value.value is not None and value.ci95 is not None:
            assert 0 <= value.ci95[0] <= value.value <= value.ci95[1] <= 1
        elif isinstance(value, dict):
            for entry in value.values():
                check(entry)

    check(figures(name, library()))


TOLERANCE = {"forcefield": 2e-2, "xtb": 5e-2, "fcd": 1e-3, "posebusters": 1e-9}  # minima are found to some digits only


@NAMES
@pytest.mark.parametrize("change", ["molecules", "atoms", "motion"])
def test_order_rotation_and_translation_change_nothing(name, change):
    molecules = library()
    if name in ("xtb", "posebusters"):
        molecules = molecules[:5]
    order = np.random.default_rng(0).permutation(len(molecules))
    other = {"molecules": molecules[order], "atoms": relabelled(molecules), "motion": moved(molecules)}[change]
    assert_alike(figures(name, molecules), figures(name, other), TOLERANCE.get(name, 1e-6))


@NAMES
def test_inputs_are_never_changed(name):
    molecules = library()[:6]
    before = [getattr(molecules, field).copy() for field in ("numbers", "charges", "pos", "bonds")]
    figures(name, molecules)
    for field, array in zip(("numbers", "charges", "pos", "bonds"), before):
        assert np.array_equal(getattr(molecules, field), array)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shards_add_up_to_the_whole(name):
    metric, molecules = resolve(PROTOCOLS[name])(), perturbed(200)
    whole = metric.measure(molecules)
    parts = metric.measure(molecules[:70]) + metric.measure(molecules[70:71]) + metric.measure(molecules[71:])
    seen = metric.measure(molecules[:50]).seen
    assert metric.rates(parts, seen) == metric.rates(whole, seen)
    assert parts.failures == whole.failures


def test_the_drawn_part_is_the_same_from_shards_in_any_order_of_molecules_and_atoms():
    molecules = perturbed(300)
    whole = Subset(40, seed=5).add(molecules)
    shards = Subset(40, seed=5).add(molecules[200:]) + Subset(40, seed=5).add(moved(relabelled(molecules[:200])))
    assert np.array_equal(whole.draws, shards.draws) and whole.of == shards.of
    assert np.array_equal(whole.molecules.sizes, shards.molecules.sizes)
    assert len(whole.draws) == 40 and not np.array_equal(whole.draws, Subset(40, seed=6).add(molecules).draws)


def test_of_molecules_without_coordinates_a_part_is_drawn_not_a_formula():
    """Isomers are told apart by their bonds, however far apart they differ; their order does not count."""
    isomers = [f"{'C' * k}C(O){'C' * (length - k)}N" for length in (15, 16) for k in range(length + 1)]
    mols = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in isomers]
    for seed in range(10):
        chosen = Subset(16, seed).add(of_mols(mols))
        backwards = Subset(16, seed).add(of_mols(mols[::-1]))
        assert len(set(chosen.molecules.sizes.tolist())) == 2
        assert len(set(chosen.draws.tolist())) == 16
        assert sorted(chosen.molecules.generated.smiles) == sorted(backwards.molecules.generated.smiles)


# -- one example of each, worked by hand

METHANE, WATER = embedded("C"), embedded("O")
METHYL = drawn(
    "CHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1)], pos=[[0, 0, 0], [1.09, 0, 0], [-0.55, 0.94, 0], [-0.55, -0.94, 0]]
)
FORMALDEHYDE = drawn(
    "COHH", [(0, 1, 2), (0, 2, 1), (0, 3, 1)], pos=[[0, 0, 0], [1.21, 0, 0], [-0.6, 0.9, 0], [-0.6, -0.9, 0]]
)
H_O_H = drawn("OHH", [(0, 1, 4), (0, 2, 4)])
CH5 = drawn("CHHHHH", [(0, k, 1) for k in range(1, 6)])
STRETCHED, H2 = (drawn("HH", [(0, 1, 1)], pos=[[0, 0, 0], [d, 0, 0]]) for d in (0.80, 0.74))


def shares(found: dict, *names: str) -> list[tuple[int, int]]:
    return [(found[name].count, found[name].of) for name in names]


def edm_example():
    """Of CH4 and CH3, 5 + 3 of 9 atoms are stable; the radical's carbon has valence 3, and RDKit adds a hydrogen."""
    found = figures("edm", of_mols([METHANE, METHYL]))
    assert shares(found, "atom_stable", "molecule_stable", "valid") == [(8, 9), (1, 2), (2, 2)]
    assert shares(found, "unique", "connected") == [(2, 2), (2, 2)]  # as written, they are different


def edm_geom_example():
    """CH2O is stable by its double bond, and recorded with a single one, to which RDKit adds hydrogens."""
    metric = installed("edm_geom")
    verdict = metric.judge(of_mols([FORMALDEHYDE]))
    assert verdict.stable[0] and verdict.smiles == ["[H]C([H])O"]


def strict_example():
    """CH4 is valid and CH3 a radical: 1 of 2, and all atoms but the radical's carbon."""
    found = figures("strict", of_mols([METHANE, METHYL]))
    assert shares(found, "atom_stable", "valid", "valid_unique") == [(8, 9), (1, 2), (1, 2)]


def revisited_example():
    """CH5 has (0, 5), not (0, 4): its hydrogens are stable, and it does not sanitise."""
    found = figures("revisited", of_mols([METHANE, CH5]))
    assert shares(found, "atom_stable", "molecule_stable", "valid") == [(10, 11), (1, 2), (1, 2)]


def jodo_example():
    """Water twice, and two waters in one: 3 valid, 2 whole, 1 distinct of 3."""
    pair = drawn("OHHOHH", [(0, 1, 1), (0, 2, 1), (3, 4, 1), (3, 5, 1)])
    found = figures("jodo", of_mols([WATER, WATER, pair]))
    assert shares(found, "valid", "complete", "unique") == [(3, 3), (2, 3), (1, 3)]


def legacy_example():
    """H:O:H has two aromatic bonds, each counted as one: stable; it does not sanitise, so it is not valid."""
    found = figures("legacy", of_mols([H_O_H]))
    assert shares(found, "molecule_stable", "valid") == [(1, 1), (0, 1)]


def descriptors_example():
    """CH4 and H2O have 5 and 3 atoms, 8 in all of which 6 are hydrogen; one failed."""
    found = figures("descriptors", of_mols([METHANE, WATER, None]))
    assert (found["atoms"].mean, found["atoms"].measured, found["atoms"].of) == (4.0, 2, 3)
    assert shares(found["elements"], "H") == [(6, 8)] and shares(found["bonds"], "single") == [(6, 6)]


def distributions_example():
    """One bond of 0.80 against one of 0.74: the earth moves 0.06 angstrom; the floor is 0."""
    reference = Reference(of_mols([H2]), of_mols([H2]))
    found = installed("distributions").figures(of_mols([STRETCHED]), reference, How())
    assert found["bond"]["distance"] == pytest.approx(0.06) and found["bond"]["floor"] == 0


def forcefield_example():
    """Ethane from its own minimum has nothing to fall; H2 has no parameters, and is not measured."""
    found = figures("forcefield", of_mols([embedded("CC"), H2]))
    assert (found["energy_drop"].measured, found["energy_drop"].of) == (1, 2)
    assert found["energy_drop"].mean == pytest.approx(0, abs=1e-3) and found["rmsd"].mean == pytest.approx(0, abs=1e-2)
    assert found["energy_drop"].unmeasured == {"no_parameters": 1}


def xtb_example():
    """CH3 has an odd electron and is not measured; H2 stretched to 0.80 relaxes to 0.777, 0.023 angstrom away."""
    found = figures("xtb", of_mols([METHYL, STRETCHED]))
    assert found["rmsd"].unmeasured == {"odd_electrons": 1}
    assert found["bond_change"]["mean"] == pytest.approx(0.80 - 0.777, abs=2e-3)
    assert found["rmsd"].mean == pytest.approx(found["bond_change"]["mean"] / 2, abs=1e-4)  # each atom moves half of it


def posebusters_example():
    """Ethanol passes, a failed molecule does not."""
    found = figures("posebusters", of_mols([embedded("CCO"), None]))
    assert shares(found, "passed") == [(1, 2)]


def fcd_example():
    """A set is at distance 0 from itself."""
    molecules = training().train
    found = installed("fcd").figures(molecules, Reference(molecules, molecules), How())
    assert found["distance"] == pytest.approx(0, abs=1e-3) == found["floor"]


def conformers_example():
    """One conformer turned around is found exactly: COV 1 and MAT 0, and the failed one costs half of the precision."""
    ours = moved(of_mols([embedded("CCO"), None]))
    found = installed("conformers").figures(ours, Reference(of_mols([embedded("CCO")])), How(workers=1))
    assert found["cov@0.5"]["cov_r"].mean == 1.0 and found["mat_r"].mean == pytest.approx(0, abs=1e-5)
    assert shares(found["cov@0.5"], "precise") == [(1, 2)] and found["unmatched"] == 1


@NAMES
def test_one_example_is_worked_by_hand(name):
    if name in BROUGHT:
        pytest.skip("the package that brings it works its own examples")
    installed(name)
    globals()[f"{name}_example"]()


def test_examples_are_of_members_alone():
    assert {key.removesuffix("_example") for key in globals() if key.endswith("_example")} == set(METRICS) - BROUGHT
