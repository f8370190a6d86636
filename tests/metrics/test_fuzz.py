"""Thousands of damaged files: no crash, no hang, exit codes 0 or 2, and the whole molecules keep their scores.

MOLFLOW_FUZZ sets how many mutations of each format are tried.
"""

from __future__ import annotations

import io
import json
import os
import random
import time

import numpy as np
import pytest
from rdkit import Chem
from shapes import embedded

from molflow import score
from molflow.build import UserError
from molflow.chem.io import open_writer
from molflow.cli import main

COUNT = int(os.environ.get("MOLFLOW_FUZZ", "700"))
WHOLE, VICTIMS = ("CO", "C#N"), ("CC=O", "c1ccccc1", "CC(=O)[O-]", "C[N+](=O)[O-]")
WORDS = [b"nan", b"inf", b"-9e99", b"999", b"-1", b"0", b"\x00", b" ", b"\n", b"Xx"]
LIMIT = 20.0  # seconds that one file may take


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, dropped, doubled or swapped; numbers made huge, negative or none; lines lost."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        if not out:
            break
        at, length = rng.randrange(len(out)), rng.choice([1, 1, 2, 8, 40])
        kind = rng.randrange(8)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = out[at : at + length]
        elif kind == 3:
            out[at : at + length] = rng.choice(
                [b"nan", b"inf", b"-9e99", b"999", b"-1", b"0", b"\x00", b" ", b"\n", b"Xx"]
            )
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            lines = bytes(out).split(b"\n")
            rng.shuffle(lines) if rng.random() < 0.2 else lines.pop(rng.randrange(len(lines)))
            out = bytearray(b"\n".join(lines))
        elif kind == 6:
            out[at : at + length] = bytes(rng.randrange(32, 127) for _ in range(length))
        else:
            out[at] = rng.choice(b"0123456789.-")
    return bytes(out)


def written(smiles: str, suffix: str, folder) -> bytes:
    path = folder / f"one{suffix}"
    with open_writer(path, overwrite=True) as out:
        out.write([embedded(smiles)])
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".sdf", ".xyz"])
def test_damaged_text_is_survived_and_whole_molecules_beside_it_keep_their_scores(suffix, tmp_path):
    rng = random.Random(7)
    protocol = "strict" if suffix == ".sdf" else "edm"
    whole = [written(smiles, suffix, tmp_path) for smiles in WHOLE]
    victims = [written(smiles, suffix, tmp_path) for smiles in VICTIMS]
    # a count or an end mark that was hit may swallow what follows, so the last whole molecule stands first too
    for k in range(COUNT):
        damaged = mutated(rng.choice(victims), rng)
        path = tmp_path / f"case{suffix}"
        path.write_bytes(whole[0] + damaged + whole[1])
        start = time.monotonic()
        report = score(path, protocols=[protocol], tier="protocols")
        assert time.monotonic() - start < LIMIT, damaged
        spool = tmp_path / "rows.csv"
        report.per_molecule(spool, overwrite=True)
        first = spool.read_text().splitlines()[1].split(",")
        assert first[6:9] == ["True", "True", "True"], (k, damaged)
        assert report.n >= 1 and report[protocol].valid.of == report.n
        json.dumps(report.to_dict(), allow_nan=False)


def test_a_damaged_record_between_end_marks_leaves_both_neighbours_alone(tmp_path):
    rng = random.Random(8)
    whole = [written(smiles, ".sdf", tmp_path) for smiles in WHOLE]
    victim = written(VICTIMS[0], ".sdf", tmp_path).replace(b"$$$$\n", b"")
    path = tmp_path / "case.sdf"
    for k in range(COUNT // 4):
        damaged = mutated(victim, rng).replace(b"$$$$", b"$$$")
        path.write_bytes(whole[0] + damaged + b"\n$$$$\n" + whole[1])
        report = score(path, protocols=["strict"], tier="protocols")
        assert report["strict"].valid.count >= 2, (k, damaged)


def arrays() -> dict[str, np.ndarray]:
    mols = [embedded(smiles) for smiles in (*WHOLE, *VICTIMS)]
    kekule = [Chem.Mol(mol) for mol in mols]
    for mol in kekule:
        Chem.Kekulize(mol, clearAromaticFlags=True)
    bonds = [[(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondType())) for b in mol.GetBonds()] for mol in kekule]
    return {
        "offsets": np.cumsum([0, *(mol.GetNumAtoms() for mol in mols)]),
        "numbers": np.array([atom.GetAtomicNum() for mol in mols for atom in mol.GetAtoms()], np.uint8),
        "charges": np.array([atom.GetFormalCharge() for mol in mols for atom in mol.GetAtoms()], np.int8),
        "positions": np.concatenate([mol.GetConformer().GetPositions() for mol in mols]).astype(np.float32),
        "bond_offsets": np.cumsum([0, *map(len, bonds)]),
        "bonds": np.array([bond for own in bonds for bond in own], np.uint8),
    }


def test_damaged_npz_files_are_survived(tmp_path):
    rng = random.Random(9)
    path = tmp_path / "case.npz"
    base = arrays()
    for k in range(COUNT // 2):
        columns = {name: column.copy() for name, column in base.items()}
        name = rng.choice(list(columns))
        column = columns[name]
        if k % 2:  # values out of range, in molecules after the first two
            after = {"offsets": 3, "bond_offsets": 3, "bonds": base["bond_offsets"][2]}.get(name, base["offsets"][2])
            at = rng.randrange(int(after), len(column))
            odd = [np.nan, np.inf, 1e30] if name == "positions" else [0, 1, 3, 4, 7, 100, 127, 255, -1]
            column[at] = np.array(rng.choice(odd)).astype(column.dtype)
        else:
            shapes = [column[:-1], column.astype(float), column.reshape(-1), np.array("text"), column[:0]]
            columns[name] = rng.choice(shapes)
        np.savez(path, **columns)
        if k % 5 == 0:
            path.write_bytes(mutated(path.read_bytes(), rng))
        try:
            report = score(path, protocols=["strict"], tier="protocols")
        except UserError:
            continue
        assert report.n == 6 or k % 5 == 0 or not k % 2
        if k % 2 and k % 5 and name not in ("offsets", "bond_offsets"):
            assert report["strict"].valid.count >= 2, (k, name)


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".npz", ".sdf.gz", ".smi", ".csv"])
def test_the_command_answers_garbage_with_0_or_2(suffix, tmp_path, capsys):
    rng = random.Random(suffix)
    for k in range(max(5, COUNT // 50)):
        path = tmp_path / f"case{k}{suffix}"
        path.write_bytes(bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 10, 1000]))))
        assert main(["score", str(path), "--tier", "protocols"]) in (0, 2)
    text = capsys.readouterr()
    assert "Traceback" not in text.err


def test_the_command_never_loads_a_pickle(tmp_path, capsys):
    buffer = io.BytesIO()
    np.savez(buffer, offsets=np.array([0, 1]), numbers=np.array([{"a": 1}], dtype=object), positions=np.zeros((1, 3)))
    (tmp_path / "evil.npz").write_bytes(buffer.getvalue())
    assert main(["score", str(tmp_path / "evil.npz")]) == 2
    assert "plain arrays" in capsys.readouterr().err
