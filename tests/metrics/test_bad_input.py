"""What comes back for bad input: a test for each row of the table in docs/scoring.md, in every protocol."""

from __future__ import annotations

import gzip
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from killer import dies_on_13_atoms
from rdkit import Chem
from rdkit.Chem.rdDepictor import Compute2DCoords
from shapes import drawn, embedded

from molflow import Batch, read, relax, score, write
from molflow.build import UserError, resolve
from molflow.chem.io import open_writer
from molflow.chem.molecule import build_mol
from molflow.metrics import PROTOCOLS
from molflow.metrics.intake import of_mols
from molflow.metrics.perception import with_bonds
from molflow.metrics.subset import Subset

NAMES = tuple(PROTOCOLS)
GOOD = ("CO", "CC=O", "C#N")


def beside_good(mol: Chem.Mol | None) -> dict[str, tuple[bool, bool, str]]:
    """(stable, valid, reason) of a bad molecule by protocol, with good ones beside it that must not notice."""
    molecules = of_mols([embedded(GOOD[0]), mol, *map(embedded, GOOD[1:])])
    out = {}
    for name, path in PROTOCOLS.items():
        verdicts = resolve(path)().judge(molecules)
        assert verdicts.valid[[0, 2, 3]].all() and verdicts.stable[[0, 2, 3]].all(), name
        out[name] = bool(verdicts.stable[1]), bool(verdicts.valid[1]), verdicts.reasons[1]
    return out


def with_position(mol: Chem.Mol, atom: int, place) -> Chem.Mol:
    pos = mol.GetConformer().GetPositions()
    pos[atom] = place
    mol.GetConformer().SetPositions(pos)
    return mol


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_coordinate_that_is_no_number_is_non_finite(value):
    found = beside_good(with_position(embedded("CO"), 2, [value, 0, 0]))
    assert found == dict.fromkeys(NAMES, (False, False, "non_finite"))


def test_two_atoms_in_one_place_overlap():
    mol = embedded("CO")
    near = mol.GetConformer().GetPositions()[0] + [0.39, 0, 0]
    assert beside_good(with_position(mol, 2, near)) == dict.fromkeys(NAMES, (False, False, "overlap"))


def test_a_molecule_without_atoms_is_empty_and_counted():
    assert beside_good(Chem.Mol()) == dict.fromkeys(NAMES, (False, False, "empty"))
    report = score([Chem.Mol(), embedded("C")])
    assert (report["edm"].molecule_stable.count, report["edm"].molecule_stable.of) == (1, 2)


def test_a_failed_molecule_is_counted():
    assert beside_good(None) == dict.fromkeys(NAMES, (False, False, "failed"))


def test_a_lone_atom_is_invalid_in_strict():
    assert beside_good(drawn("C"))["strict"] == (False, False, "lone_atom")
    assert score([drawn("C")])["strict"].failures == {"lone_atom": 1}


def test_two_molecules_in_one_are_not_connected():
    far = Chem.CombineMols(embedded("O"), with_offset(embedded("C"), 20))
    found = beside_good(far)
    assert {reason for _, _, reason in found.values()} == {"not_connected"}
    assert [name for name, (_, valid, _) in found.items() if not valid] == ["strict", "revisited"]
    assert score([far])["edm"].connected.count == 0


def with_offset(mol: Chem.Mol, by: float) -> Chem.Mol:
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + by)
    return mol


@pytest.mark.parametrize(("unit", "factor"), [("nanometres", 0.1), ("bohr", 1 / 0.529177)])
def test_other_units_are_warned_of(unit, factor):
    mols = [embedded(smiles) for smiles in GOOD]
    assert score(mols).warnings == []
    for mol in mols:
        mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * factor)
    (warning,) = score(mols).warnings
    assert unit in warning and "0.9 to 1.6" in warning


def test_an_unknown_element_is_named_and_the_batch_goes_on():
    dummy = drawn(["*", "H"], [(0, 1, 1)])
    assert beside_good(dummy) == dict.fromkeys(NAMES, (False, False, "unknown_element"))
    sodium = drawn(["Na", "H"], [(0, 1, 1)], pos=[[0, 0, 0], [1.9, 0, 0]])
    assert beside_good(sodium)["edm"] == (False, False, "unknown_element")
    assert beside_good(sodium)["strict"][1]


def test_an_exponential_perception_times_out_and_the_others_are_read():
    slow = embedded("O=S(=O)(O)OCC(N=[N+]=[N-])(COS(=O)(=O)N=[N+]=[N-])COP(=O)(O)OS(=O)(=O)O")
    molecules = of_mols([embedded("CO"), slow, embedded("CC=O")])
    bare = molecules.__class__(**{**vars_of(molecules), "has_bonds": np.zeros(3, bool)})
    seen = with_bonds(bare, [0, 0, 0], timeout=60.0)
    assert seen.bondless[1] == "timeout"
    strict = resolve(PROTOCOLS["strict"])().judge(seen)
    assert (strict.valid.tolist(), strict.reasons) == ([True, False, True], ["", "timeout", ""])
    assert np.array_equal(seen.pos, molecules.pos)


def test_a_perception_that_hangs_is_killed(monkeypatch):
    molecules = of_mols([embedded("CO")])
    bare = molecules.__class__(**{**vars_of(molecules), "has_bonds": np.zeros(1, bool)})
    monkeypatch.setattr("molflow.metrics.perception._perceived", sleeps)
    assert with_bonds(bare, [0], timeout=0.5).bondless == ["timeout"]


def sleeps(item):
    import time

    time.sleep(60)


def vars_of(molecules) -> dict:
    return {name: getattr(molecules, name) for name in molecules.__dataclass_fields__}


def test_damaged_records_are_counted_and_the_rest_is_scored(tmp_path):
    path = tmp_path / "some.sdf"
    with open_writer(path) as out:
        out.write([embedded(smiles) for smiles in GOOD])
    first, second, third, _ = path.read_text().split("$$$$\n")
    cut = "\n".join(second.splitlines()[:6]) + "\n"
    for damaged in (cut, "garbage\n", second.replace("M  END", "")):
        path.write_text("$$$$\n".join([first, damaged, third, ""]))
        report = score(path)
        assert report.n == 3
        assert (report["strict"].valid.count, report["strict"].failures) == (2, {"unreadable": 1})


QM9 = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 2.150416*^-3\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


def test_odd_but_whole_files_are_read(tmp_path):
    methane = ["5", "", *(line.replace("*^", "e").rsplit("\t", 1)[0] for line in QM9.splitlines()[2:7]), ""]
    texts = {
        "qm9.xyz": QM9,
        "frames.xyz": "\n".join(methane) * 3,
        "crlf.xyz": "\r\n".join(methane),
        "open.sdf": Chem.MolToMolBlock(embedded("C")),  # no final $$$$
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "packed.xyz.gz").write_bytes(gzip.compress("\n".join(methane).encode()))
    for path in sorted(tmp_path.iterdir()):
        report = score(path)
        assert report.n == (3 if path.name == "frames.xyz" else 1), path
        assert report["edm"].molecule_stable.value == 1.0, path


def test_molecules_without_hydrogens_are_not_applicable_and_never_nothing():
    heavy = [Chem.RemoveHs(embedded(smiles)) for smiles in ("CCO", "CC=O", "c1ccccc1")]
    report = score(heavy, protocols=list(NAMES))
    for name in NAMES:
        assert report[name].inapplicable == "no explicit hydrogens"
        assert report.to_dict()["protocols"][name] == {"not_applicable": "no explicit hydrogens"}
    assert "not applicable: no explicit hydrogens" in report.table()
    assert {found.inapplicable for found in score(heavy).protocols.values()} == {"no explicit hydrogens"}
    assert not score([embedded("O=C=O")], protocols=["edm"])["edm"].inapplicable  # it has room for none


def test_what_the_input_lacks_decides_which_protocols_apply(tmp_path):
    path = tmp_path / "some.xyz"
    with open_writer(path) as out:
        out.write([embedded(smiles) for smiles in GOOD])
    assert list(score(path).protocols) == ["edm"]
    assert score(path, protocols=["strict"])["strict"].inapplicable == "no bonds in the input"
    assert score(path, protocols=["strict"], perceive=True)["strict"].valid.value == 1.0
    flat = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in GOOD]
    assert "edm" not in score(flat).protocols
    assert score(flat, protocols=["edm"])["edm"].inapplicable == "no coordinates in the input"


def test_a_molecule_without_bonds_scores_the_same_in_memory_and_in_a_file(tmp_path):
    bare, good = drawn("CHHHH"), embedded("CO")
    for mols in ([good, bare], [bare] * 2001 + [good]):
        with open_writer(tmp_path / "some.sdf", overwrite=True) as out:
            out.write(mols)
        found = [score(given, protocols="strict", tier="protocols") for given in (mols, tmp_path / "some.sdf")]
        assert found[0].to_dict()["protocols"] == found[1].to_dict()["protocols"]
        assert "no_bonds" not in found[0]["strict"].failures
    assert score([bare], protocols=["strict"])["strict"].inapplicable == "no bonds in the input"


def test_failed_molecules_stay_in_the_denominator_of_a_file_of_smiles(tmp_path):
    write([embedded("O=C=O"), None, embedded("N#N")], tmp_path / "some.smi")
    report = score(tmp_path / "some.smi", protocols=["legacy"])
    assert (report["legacy"].valid.count, report["legacy"].valid.of) == (2, 3)
    assert report["legacy"].failures == {"unreadable": 1}


def test_a_molecule_that_kills_its_worker_costs_nobody_else_anything(monkeypatch):
    mols = [embedded(smiles) for smiles in ("CO", "CCN(C)", "CC=O")]
    assert mols[1].GetNumAtoms() == 13
    monkeypatch.setattr("molflow.evaluate.score_block", dies_on_13_atoms)
    report = score(mols, protocols="strict", tier="protocols", workers=1)
    assert (report["strict"].valid.count, report["strict"].failures) == (2, {"crash": 1})


def test_one_hydrogen_does_not_make_molecules_without_them_invalid():
    mols = [Chem.RemoveHs(embedded("CCO"))] * 30 + [Chem.MolFromSmiles("[H][H]")]
    report = score(mols, protocols=["strict"])
    assert report["strict"].inapplicable == "no explicit hydrogens"


@pytest.mark.parametrize("suffix", [".smi", ".csv"])
def test_smiles_are_scored_as_their_molecules_with_hydrogens(tmp_path, suffix):
    smiles = ["CCO", "c1ccccc1", "[CH3]", "C[N+](=O)[O-]", "C.C", "CN(C)(C)C", "[H]O[H]", "CCO"]
    path = tmp_path / f"some{suffix}"
    path.write_text("smiles\n" + "\n".join(smiles) + "\n")
    mols = [Chem.MolFromSmiles(text, sanitize=False) for text in smiles]
    for mol in mols:
        mol.UpdatePropertyCache(strict=False)
    mols = [Chem.AddHs(mol) for mol in mols]
    found, expected = (score(given, protocols=["strict", "jodo"], tier="protocols") for given in (path, mols))
    assert found.to_dict()["protocols"] == expected.to_dict()["protocols"]
    assert found["strict"].failures == {"radical": 1, "not_connected": 1, "sanitisation:valence": 1}


def test_smiles_that_do_not_sanitise_are_faults_and_nothing_is_mended(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("CCO\nCN(C)(C)C\nC(C)(C)(C)(C)C\nN(=O)(=O)C\n")
    report = score(path, protocols=["strict"])
    assert report["strict"].failures == {"sanitisation:valence": 2, "bond_orders_changed": 1} and not report.warnings


def test_molecules_written_with_hydrogens_and_without_are_warned_of():
    whole = [embedded(smiles) for smiles in ("CCO", "CC=O", "CCN")]
    assert not [line for line in score(whole).warnings if "hydrogens" in line]
    mixed = score([*whole, Chem.RemoveHs(whole[0]), Chem.RemoveHs(whole[1])])
    assert [line for line in mixed.warnings if line.startswith("2 molecules have no explicit hydrogens where 3 have")]


def test_a_file_whose_format_has_bonds_and_whose_molecules_have_none_is_perceived(tmp_path):
    path = tmp_path / "bare.sdf"
    atoms = [Chem.RWMol(embedded(smiles)) for smiles in GOOD]
    for mol in atoms:
        for bond in list(mol.GetBonds()):
            mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    write(atoms, path)
    assert score(path, protocols=["strict"])["strict"].inapplicable == "no bonds in the input"
    report = score(path, protocols=["strict"], perceive=True)
    assert report["strict"].valid.value == 1.0
    assert report.to_dict()["input"][0]["bonds"] == "perceived by RDKit from coordinates, of 3 molecules"
    whole = [embedded(smiles) for smiles in GOOD]
    assert "of 0 molecules" in score(whole, perceive=True).to_dict()["input"][0]["bonds"]


def test_mistakes_in_what_is_compared_are_told_before_anything_is_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("molflow.evaluate._run", None)
    mols = [embedded("CO")]
    for keywords in ({"reference": tmp_path / "none.sdf"}, {"conformers": tmp_path / "none.sdf"}):
        with pytest.raises(UserError, match=r"none\.sdf"):
            score(mols, **keywords)
    with pytest.raises(UserError, match="above 0"):
        score(mols, conformers=mols, thresholds=[0.0])


def test_perception_reaches_the_reference(tmp_path):
    mols = [embedded(smiles) for smiles in ("CO", "CC=O", "C#N", "CCO", "CCN", "C1CC1")]
    write(mols, tmp_path / "known.xyz")
    distances = score(mols, reference=tmp_path / "known.xyz").to_dict()["distributions"]
    assert distances["not_measured"] == "no molecule of the reference has bonds that can be read"
    found = score(mols, reference=tmp_path / "known.xyz", perceive=True).to_dict()["distributions"]
    assert found["bond"]["types"] > 0


def test_a_reference_with_a_split_of_no_name_is_refused(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text("smiles,split\nCO,trian\nCC,train\n")
    with pytest.raises(UserError, match="trian"):
        score([embedded("CO")], reference=path)
    score(path)  # of what is scored, the split says nothing


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.sdf")
    with pytest.raises(UserError, match=r"a\.sdf is a pipe"):
        score(str(tmp_path / "a.sdf"))


SQUARE = [[0, 0, 0], [1.95, 0, 0], [-1.95, 0, 0], [0, 1.95, 0], [0, -1.95, 0]]  # of XeF4, angstrom


def bad_ones() -> list[Chem.Mol | None]:
    """One good molecule, one whose atoms overlap, one without numbers, one that is none."""
    good = embedded("CCO")
    clash = with_position(Chem.Mol(good), 4, good.GetConformer().GetPositions()[3] + 0.1)
    return [good, clash, with_position(Chem.Mol(good), 2, [np.nan, 0, 0]), None]


def test_shares_of_a_part_count_what_failed_before():
    found = score(bad_ones(), tier=["forcefield"])
    energy = found.sections["energy"]["forcefield"]
    assert (energy["converged"].count, energy["converged"].of) == (1, 4)
    assert (energy["energy_drop"].measured, energy["energy_drop"].of) == (1, 4)
    halves = score(bad_ones()[:2], tier=["forcefield"]) + score(bad_ones()[2:], tier=["forcefield"])
    assert halves.sections["energy"] == found.sections["energy"]


def test_of_a_part_as_many_count_as_were_drawn_with_it():
    part = Subset(100, seed=3).add(of_mols([embedded("CO")] * 40 + [None] * 20))
    assert part.failed(20) == 20  # all of those that are there
    fit = replace(
        Subset(100, seed=3), of=1000, draws=np.sort(np.random.default_rng(0).integers(0, 2**63, 100, np.uint64))
    )
    assert 0.4 * 2000 < fit.failed(2000) < 0.6 * 2000  # draws go to half of what a hash can be


def test_posebusters_counts_what_failed_before():
    pytest.importorskip("posebusters")
    passed = score(bad_ones(), tier=["posebusters"]).sections["posebusters"]["passed"]
    assert (passed.count, passed.of) == (1, 4)


@pytest.mark.parametrize("suffix", [".sdf", ".npz", ".smi"])
def test_no_file_makes_an_invalid_molecule_valid(suffix, tmp_path):
    stretched = build_mol([8, 1, 1], [0, 0, 0], [(0, 1, 4), (0, 2, 4)], np.eye(3))
    ring = Chem.AddHs(Chem.MolFromSmiles("C1CCCCC1"))
    one = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), 4 if b.GetIdx() == 0 else 1) for b in ring.GetBonds()]
    numbers = [atom.GetAtomicNum() for atom in ring.GetAtoms()]
    cyclohexane = build_mol(
        numbers, [0] * len(numbers), one, np.random.default_rng(0).normal(size=(len(numbers), 3)) * 3
    )
    proton = build_mol([6, 1, 1, 1, 1], [0, 0, 0, 0, 1], [(0, k, 1) for k in range(1, 5)], np.eye(5, 3) * 2)
    bad = [stretched, cyclohexane, proton]
    assert score(bad)["strict"].valid.count == 0
    write(bad, tmp_path / f"a{suffix}")
    again = score(tmp_path / f"a{suffix}")
    assert again["strict"].valid.count == 0 and again.n == 3
    good = [embedded(smiles) for smiles in ("c1ccncc1", "C[N+](=O)[O-]", "C[NH3+]", "[CH3]", "[H][H]", "C/C=C/C")]
    write(good, tmp_path / f"b{suffix}")
    assert score(tmp_path / f"b{suffix}")["strict"].valid.count == score(good)["strict"].valid.count


def test_references_are_told_apart_where_nothing_is_measured():
    mols = [embedded(smiles) for smiles in GOOD]
    one, other = (score(mols, reference=given, tier="protocols") for given in (mols, mols[:2]))
    with pytest.raises(ValueError, match="reference"):
        one + other
    assert (one + score(mols, reference=mols, tier="protocols")).n == 6


def test_a_drawing_has_no_coordinates(tmp_path):
    bare = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    flat = Chem.Mol(bare)
    Compute2DCoords(flat)
    assert of_mols([flat, embedded("CO")]).has_pos.tolist() == [False, True]
    write([flat, bare], tmp_path / "flat.sdf")  # without coordinates RDKit draws one
    found = score(tmp_path / "flat.sdf")
    assert "edm" not in found
    assert relax([flat]).failed == {0: "no_coordinates"}


def test_molecules_that_are_flat_are_no_drawings(tmp_path):
    water = Chem.AddHs(Chem.MolFromSmiles("O"))
    Compute2DCoords(water)
    xenon = build_mol([54, 9, 9, 9, 9], [0] * 5, [(0, k, 1) for k in range(1, 5)], np.array(SQUARE, float))
    block = Chem.MolToMolBlock(water).replace("          2D", "            ")
    (tmp_path / "water.sdf").write_text(f"{block}$$$$\n")
    write([xenon], tmp_path / "xenon.sdf")
    for name in ("water", "xenon"):
        (mol,) = read(tmp_path / f"{name}.sdf", sanitize=False)
        assert of_mols([mol]).has_pos.all()


def test_smiles_of_lone_atoms_state_their_bonds(tmp_path):
    (tmp_path / "one.smi").write_text("C\nO\n[CH3]\n")
    found = score(tmp_path / "one.smi")
    assert (found["strict"].valid.count, found["strict"].valid.of) == (2, 3)


@pytest.mark.parametrize("suffix", [".sdf", ".npz", ".extxyz"])
def test_formal_charges_count_where_bonds_are_perceived(suffix, tmp_path):
    bare = Chem.RWMol(embedded("C[NH3+]"))
    for bond in list(bare.GetBonds()):
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    batch = Batch.from_rdkit([bare]).replace(bond=None) if suffix == ".npz" else [bare]
    write(batch, tmp_path / f"bare{suffix}")
    assert score(tmp_path / f"bare{suffix}", perceive=True)["strict"].valid.count == 1
    if suffix != ".sdf":  # whose format has a place for bonds
        (again,) = read(tmp_path / f"bare{suffix}")
        assert Chem.MolToSmiles(Chem.RemoveHs(again)) == "C[NH3+]"


def test_a_report_travels_and_adds_up():
    mols = [embedded(smiles) for smiles in GOOD]
    parts = [pickle.loads(pickle.dumps(score([mol], reference=mols))) for mol in mols]
    assert sum(parts).to_dict()["protocols"] == score(mols, reference=mols).to_dict()["protocols"]


@pytest.mark.parametrize("given", [embedded("CO"), None, 3, [embedded("CO"), "CCO", 3], [object()]])
def test_what_is_no_set_of_molecules_is_named(given, tmp_path):
    for use in (
        score,
        relax,
        lambda mols: write(mols, tmp_path / "a.sdf"),
        lambda mols: write(mols, tmp_path / "a.npz"),
    ):
        with pytest.raises(UserError, match="molecule"):
            use(given)
    assert not list(tmp_path.iterdir())


def test_an_iterator_of_molecules_is_read_once(tmp_path):
    mols = [embedded(smiles) for smiles in GOOD]
    assert sum(mol is not None for mol in relax(iter(mols)).molecules) == 3
    write(iter(mols), tmp_path / "a.sdf")
    assert score(tmp_path / "a.sdf").n == 3
