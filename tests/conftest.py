"""What every test may ask for: the repository's root, the small set, the large data where it exists."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The workers of pytest-xdist share the cores; threads of their own, and of their subprocesses, would be in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started by a shell in the background: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def large_data() -> Path:
    """The folder of large sets beside the repository; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("MOLFLOW_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the large data sets are not here: {folder} (set MOLFLOW_DATA to their folder)")
    return folder


@dataclass(frozen=True)
class RawQM9:
    """An archive in the raw format of QM9, and what is in it."""

    archive: Path
    uncharacterized: Path  # the list of those to leave out
    smiles: dict[int, str]  # of the molecules that can be read, by index
    unread: dict[int, str]  # why not, by index
    excluded: int


@pytest.fixture(scope="session")
def raw_qm9(tmp_path_factory) -> RawQM9:
    """Molecules of our own, three of them bad, in the raw format of QM9: tabs, Mulliken charges, numbers as 1.5*^-5."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    texts = ["C", "N", "O", "C#C", "C#N", "C=O", "CC", "CO", "CF", "C1CC1", "c1ccccc1", "CC(=O)N"]
    texts += ["C[N+](C)(C)CC(=O)[O-]"]
    smiles = {index: Chem.CanonSmiles(text) for index, text in enumerate(texts, 1)}
    files = {}
    for index, text in smiles.items():
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
        rows = []
        for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions()):
            cells = [f"{x:.10f}" if atom.GetIdx() else f"{x * 1e5:.6f}*^-5", f" {y:.10f}", f" {z:.10f}", "-1.2*^-5"]
            rows.append("\t".join([atom.GetSymbol(), *cells]))
        props = "\t".join(["157.7", "157.", "0.", *(str(index + k / 8) for k in range(11)), "6.*^-1"])
        inchi = "InChI=1S/none\tInChI=1S/none"
        head = [str(len(rows)), f"gdb {index}\t{props}\t"]
        files[index] = "\n".join([*head, *rows, "1341.3\t3038.32", f"{text}\t{text}\t", inchi, ""])
    water = files[3].splitlines()
    files[14] = "\n".join(["6", water[1], "O\t0\t0\t0\t0", "H\t.96\t0\t0\t0", "H\t-.24\t.93\t0\t0"])  # cut off
    files[15] = "\n".join(
        ["4", water[1], "H\t0\t0\t0\t0", "H\t.74\t0\t0\t0", "H\t9\t0\t0\t0", "H\t9.74\t0\t0\t0", "1.0"]
    )
    files[16] = files[2]  # on the list of the uncharacterized
    folder = tmp_path_factory.mktemp("raw_qm9")
    with tarfile.open(folder / "some.xyz.tar.bz2", "w:bz2") as tar:
        for index, text in files.items():
            entry = tarfile.TarInfo(f"dsgdb9nsd_{index:06d}.xyz")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    listed = folder / "left_out.txt"
    listed.write_text(
        "The molecules below failed\nthe consistency check of 2 codes.\n\n Index  SMILES(GDB)  SMILES(B3LYP)  InChI\n"
        "    16   N   [NH3]   1S/H3N\n\n1 molecule in all, of 16\n"
    )
    unread = {14: "it ends after 3 of 6 atoms"}
    unread |= {15: "no bond orders fit the coordinates at total charge 0 (its bonds leave 2 pieces)"}
    return RawQM9(folder / "some.xyz.tar.bz2", listed, smiles, unread, excluded=1)


@pytest.fixture(scope="session")
def few_molecules(root, tmp_path_factory) -> Path:
    """A data file of 60 molecules of the small set, 48 of them to train on and 6 to validate: quick to run through."""
    from molflow.data.store import Store, StoreWriter

    small = Store(root / "data" / "small.safetensors")
    path = tmp_path_factory.mktemp("few") / "few.safetensors"
    with StoreWriter(path, source="60 of the small set") as out:
        for k, i in enumerate(range(0, len(small), len(small) // 59)):
            mol = small.batch([i])
            a, b = mol.bond[0].triu().nonzero().T
            bonds = [[int(x), int(y), int(mol.bond[0, x, y])] for x, y in zip(a, b)]
            out.add(mol.atom[0], mol.pos[0], mol.charge[0], bonds, split=max(0, k % 10 - 7), smiles=small.smiles(i))
    return path


@pytest.fixture(scope="session")
def stirred():
    """(configuration, facts, seed, by) -> a model as if trained: every weight moved."""
    import torch

    from molflow.experiment import make_model

    def make(config, facts, seed, by):
        torch.manual_seed(seed)
        model = make_model(config, facts)
        with torch.no_grad():
            for weight in model.network.parameters():
                weight += by * torch.randn_like(weight)
        return model

    return make


@pytest.fixture
def kill_at():
    """(i, arguments) -> molflow with these arguments, killed where it makes part i."""
    script = """
import os, signal, sys
from molflow import jobs
from molflow.cli import main
whole = jobs.make_shard
def make_shard(job, make, folder, item):
    if item[0] == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(job, make, folder, item)
jobs.make_shard = make_shard
main(sys.argv[2:])
"""

    def run(i: int, arguments: list[str]) -> None:
        done = subprocess.run([sys.executable, "-c", script, str(i), *arguments], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    return run
