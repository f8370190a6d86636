import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

import molflow
from molflow.build import UserError
from molflow.chem.io import open_writer
from molflow.chem.molecule import build_mol, canonical_smiles
from molflow.chem.rdkit import from_rdkit, to_rdkit
from molflow.data.files import import_files
from molflow.data.store import Store
from molflow.workers import Failure

SMILES = ["CCO", "c1ccncc1", "C[N+](=O)[O-]", "C#N", "CC(=O)[O-]", "[NH4+]"]


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    mol.SetDoubleProp("energy", float(len(smiles)))
    return mol


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The same six molecules in each format."""
    folder = tmp_path_factory.mktemp("files")
    mols = [embedded(smiles) for smiles in SMILES]
    for name in ("six.sdf", "six.sdf.gz", "six.extxyz", "six.smi", "six.npz"):
        with open_writer(folder / name) as out:
            out.write(mols)
    rows = "".join(f"{smiles},{len(smiles)},test\n" for smiles in SMILES)
    (folder / "six.csv").write_text(f"smiles,energy,split\n{rows}")
    with gzip.open(folder / "three.xyz.gz", "wt") as file:  # neutral ones: plain xyz has no room for a charge
        file.write("".join(Chem.MolToXYZBlock(mol) for mol in mols[:3]))
    return folder


def molecules(store: Store) -> list[str]:
    return [canonical_smiles(mol) for mol in to_rdkit(store.batch(np.arange(len(store))))]


@pytest.mark.parametrize(
    "name", ["six.sdf", "six.sdf.gz", "six.extxyz", "six.smi", "six.csv", "six.npz", "three.xyz.gz"]
)
def test_every_format_gives_the_same_molecules(tmp_path, folder, name):
    summary = import_files(folder / name, tmp_path / "out.safetensors", workers=0)
    expected = SMILES[: summary.molecules]
    assert summary.molecules == (3 if "three" in name else 6)
    assert summary.failures == []
    store = Store(tmp_path / "out.safetensors")
    assert store.all_smiles() == [Chem.CanonSmiles(smiles) for smiles in expected]
    assert molecules(store) == store.all_smiles()
    assert 4 not in store.bond_orders
    assert store.fields == ("pos", "atom", "charge", "bond")
    if "smi" not in name and "three" not in name:
        assert store.props("energy").tolist() == [len(smiles) for smiles in SMILES]


def test_workers_change_nothing(tmp_path, folder):
    for workers in (0, 2):
        import_files(folder / "six.csv", tmp_path / f"{workers}.safetensors", workers=workers)
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["six.sdf", "six.npz"])
def test_aromatic_bonds_on_request(tmp_path, folder, name):
    import_files(folder / name, tmp_path / "a.safetensors", aromatic=True, workers=0)
    store = Store(tmp_path / "a.safetensors")
    assert store.bond_orders == [1, 2, 3, 4]
    assert molecules(store) == store.all_smiles()
    with open_writer(tmp_path / "again.npz") as out:
        out.write(store.batch(np.arange(len(store))))
    import_files(tmp_path / "again.npz", tmp_path / "b.safetensors", workers=0)
    assert Store(tmp_path / "b.safetensors").bond_orders == [1, 2, 3]  # kekulised
    assert molecules(Store(tmp_path / "b.safetensors")) == store.all_smiles()


def test_a_bad_record_is_listed_and_stops_nothing(tmp_path):
    good = Chem.SDWriter.GetText(embedded("CCO"))
    flat = Chem.AddHs(Chem.MolFromSmiles("CC"))
    AllChem.Compute2DCoords(flat)
    overlapping = embedded("CO")
    overlapping.GetConformer().SetAtomPosition(0, overlapping.GetConformer().GetAtomPosition(1))
    texts = [
        good,
        "garbage\n$$$$\n",
        Chem.SDWriter.GetText(Chem.RemoveHs(embedded("CCO"))),
        Chem.SDWriter.GetText(flat),
        Chem.SDWriter.GetText(overlapping),
        good.replace("  1  2  1", "  1  2  3"),
        Chem.SDWriter.GetText(Chem.Mol()),
        good,
        good[: len(good) // 2],
    ]
    (tmp_path / "bad.sdf").write_text("".join(texts))
    (tmp_path / "ions.xyz").write_text(
        "5\n\nN 0 0 0\nH .6 .6 .6\nH -.6 -.6 .6\nH -.6 .6 -.6\nH .6 -.6 -.6\n1\n\nQq 0 0 0"
    )
    (tmp_path / "bad.csv").write_text("smiles\nCC\nC(\nC(C)(C)(C)(C)C\n")
    files = [tmp_path / name for name in ("bad.sdf", "ions.xyz", "bad.csv")]
    summary = import_files(files, tmp_path / "out.safetensors", workers=0)
    assert (summary.records, summary.molecules) == (14, 3)
    assert Store(tmp_path / "out.safetensors").all_smiles() == ["CCO", "CCO", "CC"]
    whys = {(Path(file).name, index): why for file, index, why in summary.failures}
    wanted = {
        ("bad.sdf", 1): "cut short",
        ("bad.sdf", 2): "6 hydrogens",
        ("bad.sdf", 3): "two dimensions",
        ("bad.sdf", 4): "0.00 angstrom apart",
        ("bad.sdf", 5): "does not sanitise",
        ("bad.sdf", 6): "without atoms",
        ("bad.sdf", 8): "cut short",
        ("ions.xyz", 0): "total charge 0",
        ("ions.xyz", 1): "'Qq' is no element",
        ("bad.csv", 1): "no SMILES",
        ("bad.csv", 2): "no SMILES of a molecule",
    }
    assert whys.keys() == wanted.keys()
    for key, why in wanted.items():
        assert why in whys[key], (key, whys[key])
    assert any("11 records could not be taken" in line for line in summary.lines())
    with pytest.raises(UserError, match=r"bad\.sdf, record 1: .*cut short"):
        import_files(files, tmp_path / "strict.safetensors", workers=0, strict=True)
    assert not (tmp_path / "strict.safetensors").exists()


def test_embedded_molecules_pass_the_checks_of_those_that_have_coordinates(tmp_path):
    (tmp_path / "pieces.smi").write_text("C.C\n[He].[He]\n")  # no force field moves helium
    summary = import_files(tmp_path / "pieces.smi", tmp_path / "out.safetensors", conformers=2, workers=0)
    assert [(index, why) for _, index, why in summary.failures] == [(1, "two atoms are 0.00 angstrom apart")]
    batch = Store(tmp_path / "out.safetensors").batch([0, 1])
    assert (torch.cdist(batch.pos, batch.pos) + 9 * torch.eye(10)).min() > 1.0


def test_a_molecule_that_takes_too_long_costs_itself(tmp_path):
    (tmp_path / "long.smi").write_text("CO\n" + "C" * 400 + "\nN\n")
    summary = import_files(tmp_path / "long.smi", tmp_path / "out.safetensors", workers=1, timeout=3)
    assert summary.molecules == 2
    assert summary.failures == [(str(tmp_path / "long.smi"), 1, "took longer than 3 s")]


def test_an_npz_is_checked_molecule_by_molecule(tmp_path):
    batch = from_rdkit([embedded("CCO")] * 6)
    with open_writer(tmp_path / "good.npz") as out:
        out.write(batch)
    columns = dict(np.load(tmp_path / "good.npz"))
    columns["positions"][0] = np.nan
    columns["numbers"][9] = 0
    columns["bonds"][2 * 8] = (0, 200, 1)
    columns["bonds"][3 * 8] = (1, 1, 1)
    columns["bonds"][4 * 8, 2] = 7
    columns["edm_split"] = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    np.savez(tmp_path / "bad.npz", **columns)
    summary = import_files(tmp_path / "bad.npz", tmp_path / "out.safetensors", workers=0)
    assert [index for _, index, _ in summary.failures] == [0, 1, 2, 3, 4]
    store = Store(tmp_path / "out.safetensors")
    assert store.all_smiles() == ["CCO"]
    assert store.split.tolist() == [2]
    assert torch.equal(store.batch([0]).bond, batch[5].bond)


@pytest.mark.parametrize("kind", ["bytes", "text"])
def test_smiles_of_an_npz_are_read_from_its_bonds(tmp_path, kind):
    with open_writer(tmp_path / "a.npz") as out:
        out.write([embedded("CCO"), embedded("C"), embedded("C[C@H](N)C=O"), embedded("C")] * 20)
    columns = dict(np.load(tmp_path / "a.npz"))
    written = [f"{name} {k}" for k in range(20) for name in ("OCC", "[CH4]", "C[C@H](N)C=O", "methane")]
    smiles = np.array(written if kind == "text" else [text.encode() for text in written])
    np.savez(tmp_path / "b.npz", **columns, smiles=smiles)
    import_files(tmp_path / "b.npz", tmp_path / "out.safetensors", workers=0)
    store = Store(tmp_path / "out.safetensors")
    assert store.all_smiles() == ["CCO", "C", "CC(N)C=O", "C"] * 20
    for name in set(store.all_smiles()):
        assert len({int(store.split[k]) for k, text in enumerate(store.all_smiles()) if text == name}) == 1, name


def test_the_bonds_of_an_npz_stay_as_they_are_where_none_is_aromatic(tmp_path):
    benzene = Chem.MolFromMolBlock(Chem.MolToMolBlock(embedded("c1ccccc1")), removeHs=False, sanitize=False)
    for name, swap in (("one", {}), ("other", {1: 2, 2: 1})):
        with open_writer(tmp_path / f"{name}.npz") as out:
            out.write([benzene])
        columns = dict(np.load(tmp_path / f"{name}.npz"))
        ring = (columns["bonds"][:, :2] < 6).all(1)
        columns["bonds"][ring, 2] = [swap.get(order, order) for order in columns["bonds"][ring, 2].tolist()]
        np.savez(tmp_path / f"{name}.npz", **columns)
        import_files(tmp_path / f"{name}.npz", tmp_path / "out.safetensors", workers=0, overwrite=True)
        i, j, order = columns["bonds"].astype(int).T
        store = Store(tmp_path / "out.safetensors")
        assert store.batch([0]).bond[0, i, j].tolist() == order.tolist()
        assert store.all_smiles() == ["c1ccccc1"]


def test_charges_are_mended_with_the_bonds_that_an_import_rewrites(tmp_path):
    aromatic = embedded("[O-][N+](=O)c1ccccc1")
    with open_writer(tmp_path / "a.npz") as out:
        out.write(from_rdkit([aromatic], aromatic=True))
    columns = dict(np.load(tmp_path / "a.npz"))
    columns["charges"][:] = 0
    columns["bonds"][(columns["bonds"][:, :2] == (0, 1)).all(1), 2] = 2  # O=N=O, as some write it
    np.savez(tmp_path / "b.npz", **columns)
    import_files(tmp_path / "b.npz", tmp_path / "out.safetensors", workers=0)
    store = Store(tmp_path / "out.safetensors")
    assert store.all_smiles() == molecules(store) == ["O=[N+]([O-])c1ccccc1"]


def test_splits(tmp_path, folder):
    def split(**keywords):
        import_files(overwrite=True, workers=0, out=tmp_path / "out.safetensors", **keywords)
        return Store(tmp_path / "out.safetensors").split.tolist()

    assert split(patterns=folder / "six.csv") == [2] * 6
    assert split(patterns=folder / "six.csv", split="train") == [0] * 6
    many = tmp_path / "many.smi"
    many.write_text("".join("C" * k + "\n" for k in range(1, 9)) * 2)
    halves = split(patterns=many, split="random", fractions=(0.5, 0.25, 0.25), conformers=2)
    assert len(halves) == 32
    assert set(halves) == {0, 1, 2}
    assert halves[:16] == halves[16:]  # the same molecule again
    assert halves[::2] == halves[1::2]  # its conformers
    assert split(patterns=many, split="random", fractions=(0.5, 0.25, 0.25), seed=1) != halves[::2]


NAMED = ["train", "Val", "test", "validation", "2", ""]


def with_splits(path: Path, names: list[str]) -> Path:
    """Methanes whose file says of each what ``names`` says."""
    block, frame = Chem.SDWriter.GetText(embedded("C")), Chem.MolToXYZBlock(embedded("C")).splitlines()
    texts = {
        ".sdf": "".join(block.replace("$$$$", f">  <split>  (1) \n{name}\n\n$$$$") for name in names),
        ".extxyz": "".join("\n".join([frame[0], f'split="{name}"', *frame[2:], ""]) for name in names),
        ".csv": "smiles,Split\n" + "".join(f"C,{name}\n" for name in names),
    }
    if path.suffix == ".npz":
        with open_writer(path) as out:
            out.write([embedded("C")] * len(names))
        np.savez(path, **dict(np.load(path)), split=np.array(names))
    else:
        path.write_text(texts[path.suffix])
    return path


@pytest.mark.parametrize("suffix", [".sdf", ".extxyz", ".csv", ".npz"])
def test_a_split_that_a_file_names_is_kept(tmp_path, suffix):
    file, out = with_splits(tmp_path / f"named{suffix}", NAMED[:-1]), tmp_path / "out.safetensors"
    import_files(file, out, workers=0, fractions=(1, 0, 0))
    store = Store(out)
    assert store.split.tolist() == [0, 1, 2, 1, 2]
    assert not {"split", "Split"} & set(store.prop_names)


@pytest.mark.parametrize("suffix", [".sdf", ".extxyz", ".csv"])
def test_a_split_of_another_name_fails_its_record_and_none_at_all_is_drawn(tmp_path, suffix):
    file, out = with_splits(tmp_path / f"named{suffix}", ["test", "trian", ""]), tmp_path / "out.safetensors"
    summary = import_files(file, out, workers=0, fractions=(0, 1, 0))
    ((_, index, why),) = summary.failures
    assert index == 1 and "unknown split 'trian' (did you mean 'train'?)" in why and "--split random" in why
    assert Store(out).split.tolist() == [2, 1]
    for split in ("train", "random"):
        assert import_files(file, out, split=split, workers=0, overwrite=True).molecules == 3


def test_a_split_of_another_name_refuses_an_npz(tmp_path):
    with pytest.raises(UserError, match=r"named\.npz: unknown split 'trian'"):
        import_files(with_splits(tmp_path / "named.npz", ["test", "trian"]), tmp_path / "out.safetensors", workers=0)


def test_properties_by_name(tmp_path, folder):
    files = [folder / "six.sdf", folder / "six.smi"]
    import_files(files, tmp_path / "a.safetensors", props=["energy"], workers=0)
    energy = Store(tmp_path / "a.safetensors").props("energy")
    assert energy[:6].tolist() == [len(smiles) for smiles in SMILES]
    assert np.isnan(energy[6:]).all()
    import_files(files, tmp_path / "b.safetensors", props=[], workers=0)
    assert Store(tmp_path / "b.safetensors").prop_names == ()
    with pytest.raises(UserError, match="unknown property 'enrgy' \\(did you mean 'energy'"):
        import_files(files, tmp_path / "c.safetensors", props=["enrgy"], workers=0)
    assert not (tmp_path / "c.safetensors").exists()


def test_mistakes(tmp_path, folder):
    out = tmp_path / "out.safetensors"
    with pytest.raises(UserError, match="no such file"):
        import_files("missing.sdf", out)
    with pytest.raises(UserError, match="unknown split 'scaffold'"):
        import_files(folder / "six.sdf", out, split="scaffold")
    with pytest.raises(UserError, match="add up to 1"):
        import_files(folder / "six.sdf", out, fractions=(1, 1, 1))
    (tmp_path / "empty.sdf").write_text("")
    with pytest.raises(UserError, match="there are no records in the files"):
        import_files(tmp_path / "empty.sdf", out, workers=0)
    out.write_text("precious")
    with pytest.raises(UserError, match="exists"):
        import_files(folder / "six.sdf", out, workers=0)
    assert out.read_text() == "precious"


@pytest.mark.data
@pytest.mark.slow
def test_qm9_imports_whole_with_its_smiles_and_split(tmp_path, large_data):
    summary = import_files(large_data / "qm9_hcno_dft.npz", tmp_path / "qm9.safetensors")
    assert summary.molecules == 128_744
    store = Store(tmp_path / "qm9.safetensors")
    assert np.bincount(store.split).tolist() == [98_412, 17_473, 12_859]
    assert store.bond_orders == [1, 2, 3]
    with np.load(large_data / "qm9_hcno_dft.npz") as columns:
        assert store.all_smiles() == [text.decode() for text in columns["smiles"]]
    sample = np.random.default_rng(0).choice(len(store), 500, replace=False)
    assert [canonical_smiles(mol) for mol in to_rdkit(store.batch(sample))] == [store.smiles(k) for k in sample]


@pytest.mark.parametrize("beside", ["C", "c1ccccc1"], ids=["alone", "aromatic"])
def test_a_group_without_its_charges_is_stored_one_way(tmp_path, beside):
    """N(=O)=O beside what is aromatic and what is not: with the charges that its SMILES has."""
    mol = embedded(f"{beside}[N+](=O)[O-]")
    orders = [4 if bond.GetIsAromatic() else int(bond.GetBondTypeAsDouble()) for bond in mol.GetBonds()]
    ends = [(bond.GetBeginAtom(), bond.GetEndAtom()) for bond in mol.GetBonds()]
    orders = [2 if {a.GetFormalCharge(), b.GetFormalCharge()} == {1, -1} else o for o, (a, b) in zip(orders, ends)]
    np.savez(
        tmp_path / "nitro.npz",
        offsets=[0, mol.GetNumAtoms()],
        numbers=[atom.GetAtomicNum() for atom in mol.GetAtoms()],
        positions=mol.GetConformer().GetPositions(),
        bond_offsets=[0, len(orders)],
        bonds=[(a.GetIdx(), b.GetIdx(), order) for order, (a, b) in zip(orders, ends)],
    )
    import_files([tmp_path / "nitro.npz"], tmp_path / "nitro.safetensors", workers=0)
    store = Store(tmp_path / "nitro.safetensors")
    assert sorted(store.batch([0]).charge[0].tolist())[:: mol.GetNumAtoms() - 1] == [-1, 1]
    assert molecules(store) == [store.smiles(0)]


@pytest.mark.parametrize("name", ["six.sdf", "six.smi", "six.npz", "three.xyz.gz"])
def test_molecules_of_some_elements_alone(tmp_path, folder, name):
    given = dict(zip(SMILES, map(embedded, SMILES)))
    allowed = {6, 1, 8}
    fitting = [s for s, mol in given.items() if {a.GetAtomicNum() for a in mol.GetAtoms()} <= allowed]
    fitting = [s for s in fitting if "three" not in name or s in SMILES[:3]]
    summary = import_files(folder / name, tmp_path / "out", elements=["C", "H", "O"], strict=True, workers=0)
    assert 0 < len(fitting) < summary.records
    assert Store(tmp_path / "out").all_smiles() == [Chem.CanonSmiles(smiles) for smiles in fitting]
    assert summary.others == summary.records - len(fitting)
    assert f"{summary.others} of other elements left out" in summary.lines()
    with pytest.raises(UserError, match="have other elements"):  # hydrogens that a SMILES implies count
        import_files(folder / name, tmp_path / "bare", elements=["C", "N", "O"], workers=0)
    with pytest.raises(UserError, match="have other elements"):
        import_files(folder / name, tmp_path / "none", elements=["Xe"], workers=0)


def test_a_molecule_without_hydrogens_is_refused_in_every_format(tmp_path):
    ethanol = Chem.RemoveHs(embedded("CCO"))
    bare = build_mol([6, 6, 8], [0, 0, 0], [(0, 1, 1), (1, 2, 1)], ethanol.GetConformer().GetPositions())
    for suffix, without in ((".npz", bare), (".sdf", ethanol), (".xyz", bare)):
        with open_writer(tmp_path / f"some{suffix}") as out:
            out.write([embedded("C#N"), without, embedded("O=C=O")])
        out = tmp_path / f"{suffix[1:]}.safetensors"
        summary = import_files(tmp_path / f"some{suffix}", out, workers=0)
        assert [index for _, index, _ in summary.failures] == [1], suffix
        assert Store(out).all_smiles() == ["C#N", "O=C=O"]
    assert [mol is None for mol in molflow.read(tmp_path / "some.xyz")] == [False, True, False]


def test_a_molecule_that_hangs_costs_no_other_of_an_npz(tmp_path, monkeypatch):
    def killable(function, items, workers, timeout):
        for k, molecules in enumerate(items):
            hangs = any(len(numbers) == 2 for numbers, *_ in molecules)
            yield k, Failure("timeout", "it hangs") if hangs else function(molecules)

    monkeypatch.setattr("molflow.data.flat.map_killable", killable)
    with open_writer(tmp_path / "some.npz") as out:
        out.write([embedded("CCO"), embedded("N#N"), embedded("C")])
    summary = import_files(tmp_path / "some.npz", tmp_path / "out.safetensors", workers=1)
    assert [(index, why) for _, index, why in summary.failures] == [(1, "it hangs")]
    assert Store(tmp_path / "out.safetensors").all_smiles() == ["CCO", "C"]
