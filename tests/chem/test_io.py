import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

import molflow
from molflow import score
from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.io import WRITABLE, open_writer, read, read_all
from molflow.chem.molecule import build_mol, canonical_smiles
from molflow.chem.rdkit import from_rdkit, to_rdkit

SMILES = ["CCO", "c1ccncc1", "C[N+](=O)[O-]", "[NH3+]CC(=O)[O-]", "C#N"]


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    return mol


@pytest.fixture(scope="module")
def batch() -> Batch:
    mols = [embedded(smiles) for smiles in SMILES]
    return from_rdkit(mols).replace(props={"energy": torch.tensor([1.5, -2.0, 3.0, 4.25, 0.0])})


def smiles_of(records) -> list[str]:
    out = []
    for record in records:
        assert not record.error, record.error
        mol = record.mol
        Chem.SanitizeMol(mol)
        out.append(canonical_smiles(mol))
    return out


# -- what is written is read


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".smi", ".smi.gz", ".npz"])
def test_molecules_survive_a_file(tmp_path, batch, suffix):
    path = tmp_path / f"molecules{suffix}"
    with open_writer(path) as out:
        out.write(batch[:3])
        out.write(to_rdkit(batch[3:]))
        assert out.count == 5
    records = list(read(path))
    assert [record.index for record in records] == [0, 1, 2, 3, 4]
    assert all(record.has_bonds for record in records)
    assert smiles_of(records) == [canonical_smiles(mol) for mol in to_rdkit(batch)]
    if suffix != ".smi" and suffix != ".smi.gz":
        assert [record.props["energy"] for record in records] == [1.5, -2.0, 3.0, 4.25, 0.0]
        pos = records[2].mol.GetConformer().GetPositions()
        assert pos == pytest.approx(batch.pos[2, : len(pos)].numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("numbers", "bonds"),
    [
        ([8, 1, 1], [(0, 1, 2), (0, 2, 1)]),  # a hydrogen with a double bond
        ([6, 1, 1, 1, 7, 8, 8], [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (4, 5, 2), (4, 6, 2)]),  # of five bonds
        ([6, 1, 1, 1, 1, 1], [(0, k, 1) for k in range(1, 6)]),
    ],
)
def test_what_is_no_molecule_is_not_mended_in_smiles(tmp_path, numbers, bonds):
    path = tmp_path / "wrong.smi"
    with open_writer(path) as out:
        out.write([build_mol(numbers, [0] * len(numbers), bonds, np.eye(len(numbers), 3))])
    written = Chem.MolFromSmiles(path.read_text(), sanitize=False)
    orders = sorted(bond.GetBondTypeAsDouble() for bond in written.GetBonds())
    assert written.GetNumAtoms() == len(numbers)
    assert orders == sorted(order for _, _, order in bonds)


def test_smiles_of_what_is_no_molecule_gain_no_hydrogens(tmp_path):
    """A reader adds hydrogens to an atom that does not say how many it has."""
    wrong = build_mol([7, 6, 1, 1, 1], [0] * 5, [(0, 1, 3), (1, 2, 1), (1, 3, 1), (1, 4, 1)], np.eye(5, 3))
    with open_writer(tmp_path / "wrong.smi") as out:
        out.write([wrong])
    (record,) = read(tmp_path / "wrong.smi")
    record.mol.UpdatePropertyCache(strict=False)
    hidden = sum(atom.GetTotalNumHs() for atom in record.mol.GetAtoms())
    assert record.mol.GetNumAtoms() + hidden == 5


@pytest.mark.parametrize("text", ["2020_12", "1_0.5"])
def test_an_identifier_is_no_number(tmp_path, text):
    block = METHANE.replace("$$$$", f">  <ID>\n{text}\n\n$$$$")
    assert "ID" not in next(read(write(tmp_path / "a.sdf", block))).props
    frame = WATER.split("\n")
    frame[2] = frame[2].replace(frame[2].split()[1], text)
    assert next(read(write(tmp_path / "a.xyz", "\n".join(frame)))).error


def test_text_that_is_no_utf8_is_read_as_latin1(tmp_path):
    block = METHANE.replace("$$$$", ">  <name>\ncafé\n\n$$$$")
    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        (tmp_path / "a.sdf").write_bytes(block.encode(encoding))
        (record,) = read(tmp_path / "a.sdf")
        assert "café" in record.text and record.mol.GetNumAtoms() == 5


def test_dummy_atoms_are_no_damage(tmp_path):
    dummy = build_mol([0, 8], [0, 0], [], np.eye(2, 3))
    with open_writer(tmp_path / "a.xyz") as out:
        out.write([dummy])
        out.write([build_mol([8], [0], [], np.zeros((1, 3)))])
    first, second = read(tmp_path / "a.xyz")
    assert first.reason == "unknown_element" and not second.error


def test_a_ring_without_a_kekule_structure_is_written_to_npz_too(tmp_path):
    with open_writer(tmp_path / "a.npz") as out:
        out.write([ring(5), ring(6)])
    odd, even = read(tmp_path / "a.npz")
    assert sorted(bond.GetBondTypeAsDouble() for bond in odd.mol.GetBonds()) == [1.0] * 5 + [1.5] * 5
    assert Chem.MolToSmiles(Chem.RemoveHs(even.mol)) == "c1ccccc1"


def test_points_in_parts_keep_their_properties(tmp_path):
    points = Batch(torch.randn(3, 4, 2), torch.ones(3, 4).bool(), props={"kind": torch.tensor([1.0, 2.0, 3.0])})
    for name, part in (("a", points[:2]), ("b", points[2:])):
        with open_writer(tmp_path / f"{name}.npz") as out:
            out.write(part)
    with open_writer(tmp_path / "joined.npz") as out:
        out.copy(tmp_path / "a.npz")
        out.copy(tmp_path / "b.npz")
    with np.load(tmp_path / "joined.npz") as file:
        assert file["kind"].tolist() == [1, 2, 3]
        assert file["positions"] == pytest.approx(points.pos.reshape(-1, 2).numpy())


@pytest.mark.parametrize("suffix", [".xyz", ".xyz.gz", ".extxyz"])
def test_atoms_survive_an_xyz_file(tmp_path, batch, suffix):
    path = tmp_path / f"molecules{suffix}"
    with open_writer(path) as out:
        out.write(batch)
    for k, record in enumerate(read(path)):
        assert not record.has_bonds
        assert [atom.GetAtomicNum() for atom in record.mol.GetAtoms()] == batch.atom[k][batch.mask[k]].tolist()
        assert record.mol.GetConformer().GetPositions() == pytest.approx(batch.pos[k][batch.mask[k]].numpy(), abs=1e-6)
        assert record.props == ({"energy": float(batch.props["energy"][k])} if suffix == ".extxyz" else {})


def test_the_same_molecules_are_the_same_bytes(tmp_path, batch):
    for suffix in (".sdf.gz", ".xyz", ".extxyz", ".smi", ".npz"):
        contents = []
        for name in ("a", "b"):
            with open_writer(tmp_path / (name + suffix)) as out:
                out.write(batch)
            contents.append((tmp_path / (name + suffix)).read_bytes())
        assert contents[0] == contents[1]


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".xyz", ".npz"])
def test_parts_join_to_the_whole(tmp_path, batch, suffix):
    for name, molecules in (("whole", batch), ("a", batch[:2]), ("b", batch[2:])):
        with open_writer(tmp_path / (name + suffix)) as out:
            out.write(molecules)
    with open_writer(tmp_path / ("joined" + suffix)) as out:
        out.copy(tmp_path / ("a" + suffix))
        out.copy(tmp_path / ("b" + suffix))
    whole, joined = (list(read(tmp_path / (name + suffix))) for name in ("whole", "joined"))
    assert len(joined) == 5
    for one, other in zip(whole, joined):
        assert Chem.MolToSmiles(one.mol) == Chem.MolToSmiles(other.mol)
        assert (one.mol.GetConformer().GetPositions() == other.mol.GetConformer().GetPositions()).all()


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".extxyz", ".npz"])
def test_invalid_molecules_are_written_as_they_are(tmp_path, batch, suffix):
    """Else a file of samples would show a better model than it came from."""
    broken = batch.replace(bond=(batch.bond * 2).clamp(max=3), pos=batch.pos.index_fill(0, torch.tensor(1), torch.nan))
    with open_writer(tmp_path / f"broken{suffix}") as out:
        out.write(broken)
        out.write([None])
    *records, empty = read(tmp_path / f"broken{suffix}")
    assert [record.mol.GetNumAtoms() for record in records] == batch.sizes.tolist()
    assert empty.mol.GetNumAtoms() == 0
    assert np.isnan(records[1].mol.GetConformer().GetPositions()).any()
    if records[0].has_bonds:
        (mol,) = to_rdkit(broken[0], sanitize=False)
        assert Chem.MolToSmiles(records[0].mol) == Chem.MolToSmiles(mol)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_failed_molecules_are_counted_in_every_format(tmp_path, suffix):
    path = tmp_path / f"failed{suffix}"
    with open_writer(path) as out:
        out.write([embedded("C"), None, embedded("CO"), None])
    assert [bool(mol and mol.GetNumAtoms()) for mol in (record.mol for record in read(path))] == [True, False] * 2


def test_a_radical_gets_no_hydrogen_on_its_way_through_a_file(tmp_path, batch):
    radical = batch[0].replace(mask=batch[0].mask & (torch.arange(9) != 8))
    with open_writer(tmp_path / "radical.sdf") as out:
        out.write(radical)
    (record,) = read(tmp_path / "radical.sdf")
    Chem.SanitizeMol(record.mol)
    assert sum(atom.GetTotalNumHs() for atom in record.mol.GetAtoms()) == 0
    assert sum(atom.GetNumRadicalElectrons() for atom in record.mol.GetAtoms()) == 1


def test_bonds_are_perceived_for_a_format_that_needs_them(tmp_path, batch):
    with open_writer(tmp_path / "perceived.smi") as out:
        out.write(batch.replace(bond=None))
    assert smiles_of(read(tmp_path / "perceived.smi"))[:2] == ["CCO", "c1ccncc1"]


# -- files as others write them


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def test_xyz_in_its_dialects(tmp_path):
    text = (
        "\r\n" + WATER.replace("\n", "\r\n") + "\n\n"
        "1\nenergy=-1.5 name=x\n8 1.5*^-2 -2.e0 0\n"
        '2\nProperties=forces:R:3:species:S:1:pos:R:3 Lattice="1 0 0" charge=1\n9 9 9 n 0 0 1\n9 9 9 H 0 0 2\n'
        "0\nnothing"
    )
    first, second, third, fourth = read(write(tmp_path / "mixed.xyz", text))
    assert [atom.GetSymbol() for atom in first.mol.GetAtoms()] == ["O", "H", "H"]
    assert second.mol.GetConformer().GetPositions().tolist() == [[0.015, -2, 0]]
    assert second.props == {"energy": -1.5}
    assert [atom.GetSymbol() for atom in third.mol.GetAtoms()] == ["N", "H"]
    assert third.mol.GetConformer().GetPositions().tolist() == [[0, 0, 1], [0, 0, 2]]
    assert third.charge == 1
    assert fourth.mol.GetNumAtoms() == 0


def test_raw_qm9(tmp_path):
    raw = (
        "3\ngdb 3\t799.58812\t437.90386\t282.94545\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t-76.4047"
        "\t-76.401867\t-76.400922\t-76.422349\t6.002\t\n"
        "O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706\n"
        "H\t 0.0647664923\t 0.0205721989\t 1.5346341*^-3\t 0.294853\n"
        "H\t 0.8717903737\t 1.3007924048\t 6.9312336*^-4\t 0.294853\n"
        "1671.4222\t3803.6305\t3907.698\nO\tO\nInChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n"
    )
    records = list(read(write(tmp_path / "raw.xyz", raw + raw)))
    assert [record.error for record in records] == ["", ""]
    assert records[1].mol.GetConformer().GetPositions()[1, 2] == pytest.approx(0.0015346341)


def test_a_damaged_xyz_frame_hides_no_other(tmp_path):
    truncated = "3\n\nO 0 0 0\nH 0.96 0 0\n"
    alien = WATER.replace("O 0", "Qq 0")
    garbled = WATER.replace("0.96", "x")
    text = "".join(["a header\nand more\n", WATER, truncated, WATER, alien, garbled, WATER, truncated])
    records = list(read(write(tmp_path / "damaged.xyz", text)))
    assert [bool(record.error) for record in records] == [True, False, True, False, True, True, False, True]
    assert records[4].reason == "unknown_element"
    assert "'Qq'" in records[4].error
    assert records[7].error == "the file ends after 2 of 3 atoms"
    assert [record.index for record in records] == list(range(8))


METHANE = Chem.SDWriter.GetText(embedded("C"))


def sdf_of(*smiles: str) -> list[str]:
    return [Chem.SDWriter.GetText(embedded(s)) for s in smiles]


def test_sdf_in_its_dialects(tmp_path):
    ethanol, methane = sdf_of("CCO", "C")
    crlf = write(tmp_path / "crlf.sdf", (ethanol + methane).replace("\n", "\r\n"))
    assert smiles_of(read(crlf)) == ["CCO", "C"]
    open_end = write(tmp_path / "open.sdf", (ethanol + methane).removesuffix("$$$$\n"))
    assert smiles_of(read(open_end)) == ["CCO", "C"]
    blank = write(tmp_path / "blank.mol", "\n\n" + methane.removesuffix("$$$$\n") + "\n\n\n")
    assert smiles_of(read(blank)) == ["C"]
    with_field = methane.replace("$$$$", "> 25 <logP>\n-0.5\n\n>  <name>\nmethane\n\n$$$$")
    (record,) = read(write(tmp_path / "field.sdf", with_field))
    assert record.props == {"logP": -0.5}


def test_a_damaged_sdf_record_hides_no_other(tmp_path):
    ethanol, methane = sdf_of("CCO", "C")
    cut = ethanol[: len(ethanol) // 2].rpartition("\n")[0] + "\n"
    alien = methane.replace(" C ", " Qq")
    text = ethanol + "garbage\n$$$$\n" + cut + methane + alien + ethanol + cut
    records = list(read(write(tmp_path / "damaged.sdf", text)))
    assert [bool(record.error) for record in records] == [False, True, True, False, True, False, True]
    assert records[4].reason == "unknown_element"
    assert "cut short" in records[6].error
    assert records[6].index == 6


def test_a_cut_gzip_gives_what_it_holds(tmp_path, batch):
    path = tmp_path / "cut.sdf.gz"
    with open_writer(path) as out:
        for _ in range(200):
            out.write(batch)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *good, cut, note = read(path)
    assert len(good) > 100
    assert not any(record.error for record in good)
    assert "cut short" in cut.error
    assert "gzip" in note.error


def test_a_name_says_whether_a_file_is_gzipped(tmp_path, batch):
    path = tmp_path / "plain.sdf.gz"
    path.write_bytes(b"no gzip at all")
    with pytest.raises(UserError, match=r"is not gzipped, and its name ends in \.gz"):
        list(read(path))
    with open_writer(tmp_path / "a.sdf.gz") as out:
        out.write(batch)
    with pytest.raises(UserError, match=r"is gzipped, and its name does not end in \.gz"):
        list(read((tmp_path / "a.sdf.gz").rename(tmp_path / "a.sdf")))


def test_smiles_and_tables(tmp_path):
    smi = write(tmp_path / "a.smi", "smiles name\nCCO ethanol\n\nC\r\n# a remark\nnot_smiles\nc1ccccc1")
    assert [record.error and "bad" for record in read(smi)] == ["", "", "bad", ""]
    table = 'id;SMILES;energy;split\n1;CCO;-1.5;train\n2;"C(C)";;test\n\n3\n4;C;x;val\n5;oops!;0;val'
    records = list(read(write(tmp_path / "a.csv", table)))
    assert [record.props for record in records] == [
        {"id": 1, "energy": -1.5},
        {"id": 2},
        {},
        {"id": 4},
        {"id": 5, "energy": 0},
    ]
    assert [record.split for record in records] == [0, 2, None, 1, 1]
    assert [bool(record.error) for record in records] == [False, False, True, False, True]
    tsv = write(tmp_path / "a.tsv", "\ufeffcanonical_smiles\ty\nCC\t1")
    assert smiles_of(read(tsv)) == ["CC"]
    with pytest.raises(UserError, match="no column named 'smiles' among 'id', 'structure'"):
        list(read(write(tmp_path / "b.csv", "id,structure\n1,C")))


def test_npz_by_hand(tmp_path):
    columns = {
        "offsets": np.array([0, 2, 3]),
        "numbers": np.array([1, 1, 2], np.uint8),
        "positions": np.array([[0, 0, 0], [0.74, 0, 0], [5, 5, 5]], np.float32),
        "edm_split": np.array([0, 2], np.uint8),
        "gap": np.array([1.0, 2.0]),
        "name": np.array([b"a", b"b"]),
    }
    np.savez(tmp_path / "h2.npz", **columns, bond_offsets=np.array([0, 1, 1]), bonds=np.array([[0, 1, 1]], np.uint8))
    first, second = read(tmp_path / "h2.npz")
    assert Chem.MolToSmiles(first.mol) == "[H][H]"
    assert (first.split, second.split) == (0, 2)
    assert second.props == {"gap": 2.0}
    np.savez(tmp_path / "bare.npz", **columns)
    assert not next(read(tmp_path / "bare.npz")).has_bonds
    np.savez(tmp_path / "short.npz", **{**columns, "numbers": columns["numbers"][:2]})
    with pytest.raises(UserError, match="do not fit"):
        list(read(tmp_path / "short.npz"))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="no array offsets, numbers, positions, only x"):
        list(read(tmp_path / "other.npz"))
    content = (tmp_path / "h2.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not a whole npz"):
        list(read(tmp_path / "cut.npz"))
    np.savez(tmp_path / "pickled.npz", offsets=np.array([{}], dtype=object), numbers=1, positions=1)
    with pytest.raises(UserError, match="plain arrays"):
        list(read(tmp_path / "pickled.npz"))


# -- mistakes


def test_reading_mistakes_are_told_before_reading(tmp_path):
    write(tmp_path / "a.xyz", WATER)
    write(tmp_path / "b.xyz", WATER + WATER)
    records = list(read_all([tmp_path / "*.xyz", tmp_path / "a.xyz"]))
    assert [(Path(record.file).name, record.index) for record in records] == [
        ("a.xyz", 0),
        ("b.xyz", 0),
        ("b.xyz", 1),
        ("a.xyz", 0),
    ]
    with pytest.raises(UserError, match="no such file"):
        read_all([tmp_path / "a.xyz", tmp_path / "missing.xyz"])
    with pytest.raises(UserError, match=r"unknown suffix '\.pdb'; choose from \.sdf"):
        read(tmp_path / "a.pdb")
    with pytest.raises(UserError, match="no file has such a name"):
        read_all(str(tmp_path / "*.sdf"))
    with pytest.raises(UserError, match="folder"):
        (tmp_path / "c.sdf").mkdir()
        read_all(tmp_path / "c.sdf")


def test_nothing_existing_is_overwritten(tmp_path, batch):
    path = write(tmp_path / "kept.sdf", "precious")
    with pytest.raises(UserError, match="exists"):
        open_writer(path)
    with pytest.raises(ZeroDivisionError), open_writer(path, overwrite=True) as out:
        out.write(batch)
        raise ZeroDivisionError
    assert path.read_text() == "precious"
    with open_writer(path, overwrite=True) as out:
        out.write(batch)
    assert len(list(read(path))) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["kept.sdf"]
    with pytest.raises(UserError, match="no folder"):
        open_writer(tmp_path / "nowhere" / "a.sdf")
    with pytest.raises(UserError, match=r"unknown suffix '\.csv'; choose from \.sdf, \.xyz"):
        open_writer(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".npz"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, batch, suffix):
    resource = pytest.importorskip("resource")

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = Batch.cat([batch] * 40)
    many = many.replace(pos=torch.randn(many.pos.shape, generator=torch.Generator().manual_seed(0)))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # SIGXFSZ is ignored by Python: an OSError comes
        with pytest.raises(UserError, match="disk is full"), open_writer(tmp_path / f"a{suffix}") as out:
            out.write(many)
        with pytest.raises(UserError), open_writer(tmp_path / "b.xyz") as out:  # noqa: SIM117
            with pytest.raises(UserError, match="disk is full"):
                out.write(many)  # and goes on as if nothing were
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []


def test_gzip_carries_no_name_and_no_date(tmp_path, batch):
    with open_writer(tmp_path / "a.xyz.gz") as out:
        out.write(batch)
    content = (tmp_path / "a.xyz.gz").read_bytes()
    assert content[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    assert gzip.decompress(content).startswith(b"9\n")


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".smi", ".csv"])
@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_stops_a_reader(tmp_path, suffix, data):
    """Valid records with pieces cut out, doubled or replaced, and one whole record at the end, which is still read."""
    whole = {".sdf": METHANE, ".xyz": WATER, ".smi": "CCO name\n", ".csv": "CCO,1.5\n"}[suffix]
    text = whole * 2
    for _ in range(data.draw(st.integers(0, 3))):
        low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:low] + data.draw(st.one_of(st.text(max_size=8), st.just(text[low:high] * 2))) + text[high:]
    head = "smiles,y\n" if suffix == ".csv" else ""
    if suffix == ".csv":
        text = text.replace('"', "")  # an open quote rightly takes what follows
    separator = "\n$$$$\n" if suffix == ".sdf" else "\n"
    *_, last = read(write(tmp_path / f"fuzz{suffix}", head + text + separator + whole))
    assert not last.error
    assert last.mol.GetNumAtoms() == {".sdf": 5, ".xyz": 3, ".smi": 3, ".csv": 3}[suffix]


@pytest.mark.parametrize("suffix", [".sdf", ".extxyz", ".npz"])
def test_a_property_of_several_numbers_is_refused_by_name(tmp_path, batch, suffix):
    """A batch may carry it, a file has one number a molecule."""
    path = tmp_path / f"m{suffix}"
    wide = batch.replace(props={"dipole": torch.zeros(len(batch), 3)})
    with pytest.raises(UserError, match="property dipole has 3 numbers a molecule"), open_writer(path) as out:
        out.write(wide)
    assert list(tmp_path.iterdir()) == []


# -- what a format has another word for


def ring(size: int) -> Chem.Mol:
    """Of carbon with a hydrogen each, all of its bonds aromatic."""
    bonds = [(k, (k + 1) % size, 4) for k in range(size)] + [(k, k + size, 1) for k in range(size)]
    angles = np.arange(size) * 2 * np.pi / size
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    return build_mol([6] * size + [1] * size, [0] * 2 * size, bonds, np.concatenate([1.4 * circle, 2.5 * circle]))


@pytest.mark.parametrize("size", [6, 8])
def test_aromatic_bonds_say_the_same_after_a_file(tmp_path, size):
    """Benzene is written as Kekule drew it; of cyclooctatetraene that would make another, valid, molecule."""
    mol = ring(size)
    with open_writer(tmp_path / "ring.sdf") as out:
        out.write([mol])
    (record,) = read(tmp_path / "ring.sdf")
    scores = [
        score([given], protocols="strict", tier="protocols").to_dict()["protocols"] for given in (mol, record.mol)
    ]
    assert scores[0] == scores[1]
    assert ("  4  0" in (tmp_path / "ring.sdf").read_text()) == (size == 8)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_charges_that_no_atom_has_are_written_as_they_are(tmp_path, suffix):
    mol = build_mol([1, 8, 6], [2, 0, 7], [(0, 1, 1)], np.eye(3))
    mol.SetDoubleProp("energy", -1.5)
    with open_writer(tmp_path / f"odd{suffix}") as out:
        out.write([mol, embedded("CO")])
    odd, good = read(tmp_path / f"odd{suffix}")
    assert good.mol.GetNumAtoms() in (2, 6)
    if suffix in (".sdf", ".npz"):
        assert [atom.GetFormalCharge() for atom in odd.mol.GetAtoms()] == [2, 0, 7]
        assert odd.mol.GetNumBonds() == 1 and odd.props == {"energy": -1.5}
        assert odd.mol.GetConformer().GetPositions() == pytest.approx(np.eye(3))


def test_a_property_that_is_no_text_costs_no_molecule(tmp_path):
    text = Chem.SDWriter.GetText(embedded("CO")).replace("$$$$", ">  <name>\nXX\n\n>  <energy>\n2.5\n\n$$$$")
    (tmp_path / "latin.sdf").write_bytes(text.encode().replace(b"XX", b"\xe9t\xe9"))
    (mol,) = Chem.SDMolSupplier(str(tmp_path / "latin.sdf"), removeHs=False)
    for suffix in (".sdf", ".npz"):
        with open_writer(tmp_path / f"out{suffix}") as out:
            out.write([mol])
        (record,) = read(tmp_path / f"out{suffix}")
        assert record.props == {"energy": 2.5}


@pytest.mark.parametrize(("suffix", "name"), [(".npz", "offsets"), (".npz", "edm_split"), (".extxyz", "charge")])
def test_a_property_whose_name_means_something_else_there_is_refused(tmp_path, batch, suffix, name):
    with pytest.raises(UserError, match=name), open_writer(tmp_path / f"out{suffix}") as out:
        out.write(batch.replace(props={name: torch.zeros(len(batch))}))
    assert not list(tmp_path.iterdir())


def test_a_property_that_ends_in_split_is_one(tmp_path, batch):
    with open_writer(tmp_path / "gap.npz") as out:
        out.write(batch.replace(props={"singlet_triplet_split": torch.full((5,), 2.5)}))
    assert [record.props["singlet_triplet_split"] for record in read(tmp_path / "gap.npz")] == [2.5] * 5


def test_a_total_charge_is_rounded(tmp_path):
    path = write(tmp_path / "ion.extxyz", "1\nProperties=species:S:1:pos:R:3 charge=0.99999\nH 0 0 0\n")
    assert next(iter(read(path))).charge == 1


def test_texts_stay_with_their_molecules(tmp_path):
    mol = embedded("CCO")
    mol.SetProp("name", "CHEMBL545")
    mol.SetProp("remark", "two\nlines")
    mol.SetDoubleProp("energy", -1.5)
    molflow.write([mol], tmp_path / "a.sdf")
    (again,) = molflow.read(tmp_path / "a.sdf")
    assert again.GetPropsAsDict() == {"name": "CHEMBL545", "remark": "two\nlines", "energy": -1.5}


def test_exponents_as_fortran_and_mathematica_write_them(tmp_path):
    path = write(tmp_path / "a.xyz", "2\n\nO 0.0D+00 -1.*^-2 2.5d0\nH 9.6D-01 0.0 1e-1\n")
    (record,) = read(path)
    assert record.mol.GetConformer().GetPositions().tolist() == [[0, -0.01, 2.5], [0.96, 0, 0.1]]


def test_a_property_ends_where_the_next_begins(tmp_path):
    with open_writer(tmp_path / "a.sdf") as out:
        out.write([embedded("C")])
    text = (tmp_path / "a.sdf").read_text().replace("$$$$", ">  <a>\n1.5\n>  <b>\n2\n\n>  <c>\n\n$$$$")
    (record,) = read(write(tmp_path / "b.sdf", text))
    assert (record.props, record.texts) == ({"a": 1.5, "b": 2}, {"c": ""})
