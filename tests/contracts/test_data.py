"""Every source of molecules keeps the SMILES through a Batch, splits without overlap and always alike, shows damage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from molflow.build import UserError
from molflow.chem.molecule import canonical_smiles
from molflow.data.loader import Loader
from molflow.data.qm9 import make_qm9
from molflow.data.store import Store, StoreWriter

PINNED = {  # sha256 of the column `split`, first 16 digits: a change moves molecules between training and test
    "small": "53e9769d6272f694",
    "qm9": "3ff738e557056cd2",
    "import": "a11a863c0e75f945",
}


def from_small(root, raw_qm9, folder) -> Store:
    return Store(root / "data" / "small.safetensors")


def from_qm9(root, raw_qm9, folder) -> Store:
    make_qm9(folder / "qm9.safetensors", raw_qm9.archive, raw_qm9.uncharacterized, workers=0, progress=False)
    return Store(folder / "qm9.safetensors")


def from_import(root, raw_qm9, folder) -> Store:
    """SMILES through the command line: embedded, split and stored as a user's are."""
    from molflow.cli import main

    (folder / "mine.smi").write_text("".join(f"{text}\n" for text in raw_qm9.smiles.values()))
    out = folder / "mine.safetensors"
    options = ["--fractions", "0.6,0.2,0.2", "--workers", "0", "--out", str(out)]
    assert main(["data", "import", str(folder / "mine.smi"), *options]) == 0
    return Store(out)


SOURCES = {"small": from_small, "qm9": from_qm9, "import": from_import}


@pytest.fixture(scope="module", params=SOURCES)
def source(request, root, raw_qm9, tmp_path_factory) -> tuple[str, Store]:
    return request.param, SOURCES[request.param](root, raw_qm9, tmp_path_factory.mktemp(request.param))


def test_molecule_to_batch_to_molecule_keeps_the_smiles(source):
    _, store = source
    chosen = np.random.default_rng(0).permutation(len(store))[:300]
    batch = store.batch(chosen)
    mols = batch.to_rdkit()
    assert [canonical_smiles(mol) for mol in mols] == [store.smiles(k) for k in chosen]
    assert [mol.GetNumAtoms() for mol in mols] == batch.sizes.tolist() == store.sizes[chosen].tolist()


def test_splits_are_disjoint_whole_and_pinned(source):
    name, store = source
    parts = [store.indices(split) for split in ("train", "val", "test")]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(store)))
    assert len(parts[0]) > len(parts[1]) >= 1 and len(parts[2]) >= 1
    assert hashlib.sha256(store.split.tobytes()).hexdigest()[:16] == PINNED[name]


def test_the_content_is_what_its_checksum_says(source):
    store = source[1]
    store.verify()
    assert store.meta["source"] and store.checksum.startswith("sha256:")


def test_what_it_tells_is_what_its_batches_hold(source):
    store = source[1]
    batch = store.batch(range(len(store)), fields=("atom", "charge", "bond"))
    kinds = zip(batch.atom[batch.mask].tolist(), batch.charge[batch.mask].tolist())
    assert sorted(set(kinds)) == store.kinds()
    assert batch.atom[batch.mask].unique().tolist() == store.elements
    assert batch.bond.unique().tolist() == [0, *store.bond_orders]
    assert bool((batch.bond == batch.bond.transpose(1, 2)).all())
    assert batch.pos[batch.mask].isfinite().all() and 0.5 < store.scale() < 3


def test_the_loader_gives_every_molecule_of_training_once(source):
    store = source[1]
    loader = Loader(store, pairs=5_000, epochs=1)
    seen = np.concatenate([loader.index[loader.plan.at(step)[1]] for step in range(len(loader.plan))])
    assert np.array_equal(np.sort(seen), store.indices("train"))
    assert sum(len(batch) for _, batch in loader) == len(seen) and loader.plan.padding() < 0.1


def test_a_rewritten_set_has_the_same_content(source, tmp_path):
    store = source[1]
    with StoreWriter(tmp_path / "again", source="elsewhere") as out:
        for k in range(len(store)):
            one = store.batch([k])
            i, j = np.triu(one.bond[0].numpy()).nonzero()
            bonds = np.stack([i, j, one.bond[0].numpy()[i, j]], 1)
            props = {name: store.props(name)[k] for name in store.prop_names}
            out.add(one.atom[0], one.pos[0], one.charge[0], bonds, int(store.split[k]), store.smiles(k), props)
    again = Store(tmp_path / "again")
    assert again.batch(range(len(store))).bond.equal(store.batch(range(len(store))).bond)
    assert again.all_smiles() == store.all_smiles() and np.array_equal(again.split, store.split)


def test_a_damaged_file_is_a_clear_error(source, tmp_path):
    whole = source[1].path.read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.safetensors is (cut short|not a molflow data file)"):
            Store(tmp_path / "cut.safetensors")
    changed = bytearray(whole)
    changed[-1] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(changed)
    with pytest.raises(UserError, match="damaged"):
        Store(tmp_path / "changed.safetensors").verify()
