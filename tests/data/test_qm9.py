"""QM9 from an archive in its true raw format to a data file: what is read, left out, listed and split."""

from __future__ import annotations

import hashlib
import shutil
import tarfile

import numpy as np
import pytest
from rdkit.Chem import MolToSmiles

from molflow.build import UserError
from molflow.chem.bonds import perceive
from molflow.chem.elements import SYMBOL
from molflow.data import qm9
from molflow.data.qm9 import edm_split, make_qm9
from molflow.data.qm9_raw import UNITS, Molecule, parse, read, read_uncharacterized
from molflow.data.store import Store

_PROPS = (
    "799.588 437.904 282.945 1.8511 6.31 -0.2928 0.0687 0.3615 19.0002 0.021375 -76.4047 -76.40 -76.40 -76.42 6.002"
)
WATER = "\n".join(
    [
        "3",
        "gdb 3\t" + _PROPS.replace(" ", "\t") + "\t",
        "O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706",
        "H\t 6.47664*^-2\t 2.05721*^-2\t 1.5346*^-3\t 0.294853",
        "H\t 0.8717903737\t 1.3007924048\t 6.9*^-6\t 0.294853",
        "1671.4222\t3803.6305\t3907.698",
        "O\tO\t",
        "InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2",
    ]
)


def test_a_raw_file_by_hand():
    raw = parse(WATER)
    assert raw.index == 3 and raw.numbers.tolist() == [8, 1, 1]
    assert raw.positions[1].tolist() == [0.0647664, 0.0205721, 0.0015346] and raw.positions[2, 2] == 6.9e-6
    assert list(raw.props) == list(UNITS) and len(UNITS) == 15
    assert raw.props["A"] == 799.588 and raw.props["mu"] == 1.8511 and raw.props["Cv"] == 6.002


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not in QM9's format"),
        ("3\n", "not in QM9's format"),
        (WATER.replace("gdb 3\t", "gdb 3\t1.0\t"), "18 entries"),
        (WATER.replace("H\t", "Hx\t"), "'Hx' is no element"),
        (WATER.replace("2.05721*^-2", "2.05721*-2"), "not in QM9's format"),
        (WATER.replace("3\n", "30\n", 1), "ends after 6 of 30"),
    ],
)
def test_what_is_not_in_the_format_is_said(text, why):
    with pytest.raises(UserError, match=why):
        parse(text)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_archive_end_to_end(raw_qm9, tmp_path, workers):
    out = tmp_path / "qm9.safetensors"
    summary = make_qm9(out, raw_qm9.archive, raw_qm9.uncharacterized, workers=workers, progress=False)
    store = Store(out)
    assert summary.molecules == len(store) == len(raw_qm9.smiles)
    assert store.props("gdb_index").tolist() == list(raw_qm9.smiles)
    assert store.all_smiles() == list(raw_qm9.smiles.values())
    assert summary.uncharacterized == raw_qm9.excluded
    listed = dict(line.split("\t") for line in (tmp_path / "qm9.unread.txt").read_text().splitlines())
    assert (
        listed == {f"dsgdb9nsd_{index:06d}.xyz": why for index, why in raw_qm9.unread.items()} == dict(summary.unread)
    )
    assert set(store.prop_names) == {*UNITS, "gdb_index"} and store.props("mu").tolist() == list(range(1, 14))
    assert store.props("Cv")[0] == 0.6 and store.meta["source"] == "QM9" and '"gap": "hartree"' in store.meta["units"]
    benzene = store.batch([10])
    assert sorted(benzene.bond[0, :6, :6].sum(1).tolist()) == [3] * 6  # Kekule: one single and one double bond an atom
    assert (7, 1) in store.kinds() and (8, -1) in store.kinds()
    assert np.bincount(store.split).tolist() == [9, 3, 1] and summary.split.startswith("9 / 3 / 1 train")


def test_of_some_elements_alone_the_others_keep_their_split(raw_qm9, tmp_path):
    given = {"uncharacterized": raw_qm9.uncharacterized, "workers": 0, "progress": False}
    make_qm9(tmp_path / "all", raw_qm9.archive, **given)
    summary = make_qm9(tmp_path / "hcno", raw_qm9.archive, elements=["H", "C", "N", "O"], **given)
    whole, part = Store(tmp_path / "all"), Store(tmp_path / "hcno")
    kept = ["F" not in smiles for smiles in raw_qm9.smiles.values()]
    assert (len(part), summary.others) == (sum(kept), 1)
    assert part.all_smiles() == [smiles for smiles, keep in zip(whole.all_smiles(), kept) if keep]
    assert part.split.tolist() == whole.split[kept].tolist()
    with pytest.raises(UserError, match="'Hc' is no element"):
        make_qm9(tmp_path / "x", raw_qm9.archive, elements=["Hc"], **given)


def test_the_same_archive_gives_the_same_bytes(raw_qm9, tmp_path):
    folder = tmp_path / "raw"
    with tarfile.open(raw_qm9.archive) as tar:
        tar.extractall(folder, filter="data")
    made = []
    for name, source in (("a", raw_qm9.archive), ("b", folder)):  # a folder of the extracted files serves as well
        make_qm9(tmp_path / name, source, raw_qm9.uncharacterized, workers=0, progress=False)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_aromatic_bonds_on_request(raw_qm9, tmp_path):
    make_qm9(tmp_path / "qm9", raw_qm9.archive, raw_qm9.uncharacterized, aromatic=True, workers=0, progress=False)
    assert Store(tmp_path / "qm9").batch([10]).bond[0, :6, :6].sum(1).tolist() == [8] * 6


def test_without_the_list_all_are_kept_and_that_is_said(raw_qm9, tmp_path):
    summary = make_qm9(tmp_path / "qm9", raw_qm9.archive, workers=0, progress=False)
    assert summary.uncharacterized is None and summary.molecules == 14


def test_edms_split_is_reproduced():
    split, how = edm_split(130_831)
    assert np.bincount(split).tolist() == [100_000, 17_748, 13_083] and how.startswith("by EDM's split")
    assert hashlib.sha256(split.tobytes()).hexdigest()[:16] == "2fc53e294a803c1b"
    fewer, how = edm_split(1_000)
    assert np.bincount(fewer).tolist() == [764, 136, 100] and "here are 1,000" in how


@pytest.mark.data
def test_edms_split_agrees_with_the_published_molecules(large_data):
    with np.load(large_data / "qm9_hcno_dft.npz") as data:
        index, known = data["gdb_index"], data["edm_split"]
    split, _ = edm_split(130_831)
    head = index < 1_000  # so early that few are uncharacterized: place = index - 1 - (how many were left out before)
    left_out = np.arange(20)[:, None]
    place = index[head] - 1 - left_out
    fits = split[np.maximum(place, 0)] == known[head]
    assert fits[:, :50].any(0).all() and fits[0, :20].all()


def test_the_list_of_the_uncharacterized_is_read_by_pattern(raw_qm9, tmp_path):
    assert read_uncharacterized(raw_qm9.uncharacterized) == {16}
    (tmp_path / "other.txt").write_text("nothing\n1 2 3\n")
    with pytest.raises(UserError, match="lists no uncharacterized"):
        read_uncharacterized(tmp_path / "other.txt")


def test_a_damaged_or_foreign_archive_is_a_clear_error(raw_qm9, tmp_path):
    whole = raw_qm9.archive.read_bytes()
    cases = {"cut": (whole[: len(whole) // 2], "read to its end"), "text": (b"hello" * 999, "read to its end")}
    for name, (content, why) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=why):
            make_qm9(tmp_path / "out", tmp_path / name, raw_qm9.uncharacterized, workers=0, progress=False)
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "text", "readme.txt")
    with pytest.raises(UserError, match="no molecule of QM9"):
        make_qm9(tmp_path / "out", tmp_path / "other.tar", workers=0, progress=False)
    with pytest.raises(UserError, match="none: no such file"):
        make_qm9(tmp_path / "out", tmp_path / "none", progress=False)
    assert not (tmp_path / "out").exists()


def test_offline_it_says_what_to_fetch_and_what_to_type(tmp_path, monkeypatch):
    for name in ("ARCHIVE", "UNCHARACTERIZED"):
        dead = qm9.Remote(**{**vars(getattr(qm9, name)), "urls": ("http://127.0.0.1:9/",)})
        monkeypatch.setattr(qm9, name, dead)
    with pytest.raises(UserError) as caught:
        make_qm9(tmp_path / "qm9.safetensors", progress=False)
    for part in (
        qm9.ARCHIVE.md5,
        qm9.UNCHARACTERIZED.md5,
        str(tmp_path / qm9.ARCHIVE.name),
        "--from dsgdb9nsd.xyz.tar.bz2",
    ):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_and_nothing_is_fetched(raw_qm9, tmp_path):
    out = tmp_path / "qm9.safetensors"
    shutil.copy(raw_qm9.archive, out)
    with pytest.raises(UserError, match="--overwrite"):
        make_qm9(out)


@pytest.mark.data
def test_published_geometries_give_the_published_smiles(large_data):
    with np.load(large_data / "qm9_hcno_dft.npz") as data:
        offsets, numbers, positions, smiles = (data[name] for name in ("offsets", "numbers", "positions", "smiles"))
    chosen = np.random.default_rng(0).choice(len(smiles), 300, replace=False)
    for k in chosen:
        atoms = slice(offsets[k], offsets[k + 1])
        rows = [
            "\t".join([SYMBOL[z], *(f"{x:.10f}" for x in xyz), "0."])
            for z, xyz in zip(numbers[atoms], positions[atoms])
        ]
        text = "\n".join([str(len(rows)), f"gdb {k + 1}\t" + "\t".join(["1.0"] * 15), *rows, "1.0"])
        found = read(text)
        assert isinstance(found, Molecule) and found.smiles == smiles[k].decode()


def test_a_stretched_bond_is_found_rather_than_a_lost_proton():
    rows = ["O\t0.\t0.\t0.\t0.", "H\t1.2\t0.\t0.\t0.", "H\t-.24\t.93\t0.\t0."]
    assert MolToSmiles(perceive([8, 1, 1], [[0, 0, 0], [1.2, 0, 0], [-0.24, 0.93, 0]])) == "[H+].[H][O-]"
    found = read("\n".join([*WATER.split("\n")[:2], *rows]))
    assert isinstance(found, Molecule) and found.smiles == "O" and found.charges == [0, 0, 0]
