"""The data file: what goes in comes out, as batches; what is damaged or foreign is refused in words."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from molflow.build import UserError
from molflow.data.format import content_checksum
from molflow.data.store import Store, StoreWriter

WATER = ([8, 1, 1], [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [0, 0, 0], [[0, 1, 1], [2, 0, 1]])
CYANIDE = ([6, 7], [[0.0, 0, 0], [1.16, 0, 0]], [-1, 0], [[0, 1, 3]])


def write(path, molecules=(WATER, CYANIDE), **options):
    with StoreWriter(path, source="a test", **options) as out:
        for molecule in molecules:
            out.add(*molecule)
    return Store(path)


def random_molecules(count, seed=0, largest=12):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(1, largest))
        i, j = np.triu_indices(n, 1)
        chosen = rng.random(len(i)) < 0.3
        bonds = np.stack([i[chosen], j[chosen], rng.integers(1, 5, chosen.sum())], 1)
        yield rng.integers(1, 119, n), rng.normal(size=(n, 3)), rng.integers(-2, 3, n), bonds


def test_two_molecules_come_back_as_a_batch(tmp_path):
    batch = write(tmp_path / "two.safetensors").batch([1, 0])
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.atom.tolist() == [[6, 7, 0], [8, 1, 1]]
    assert batch.charge.tolist() == [[-1, 0, 0], [0, 0, 0]]
    assert batch.bond.tolist() == [[[0, 3, 0], [3, 0, 0], [0, 0, 0]], [[0, 1, 1], [1, 0, 0], [1, 0, 0]]]
    assert batch.pos[0].tolist() == [[0, 0, 0], [pytest.approx(1.16), 0, 0], [0, 0, 0]]
    assert batch.pos.dtype == torch.float32 and {batch.atom.dtype, batch.bond.dtype} == {torch.int64}


def test_a_random_batch_is_what_a_plain_loop_gives(tmp_path):
    molecules = list(random_molecules(60))
    store = write(tmp_path / "many.safetensors", molecules)
    index = np.random.default_rng(1).integers(0, 60, 25)
    batch = store.batch(index, pad_to=15)
    assert batch.mask.shape == (25, 15)
    for row, k in enumerate(index):
        numbers, positions, charges, bonds = molecules[k]
        n = len(numbers)
        orders = np.zeros((15, 15), int)
        for i, j, order in bonds:
            orders[i, j] = orders[j, i] = order
        assert batch.mask[row].tolist() == [True] * n + [False] * (15 - n)
        assert batch.atom[row].tolist() == [*numbers, *[0] * (15 - n)]
        assert batch.charge[row].tolist() == [*charges, *[0] * (15 - n)]
        assert np.array_equal(batch.bond[row].numpy(), orders)
        assert np.array_equal(batch.pos[row, :n].numpy(), positions.astype(np.float32))
        assert not batch.pos[row, n:].any()


def test_bulk_and_single_writing_make_the_same_bytes(tmp_path):
    molecules = list(random_molecules(20))
    write(tmp_path / "single.safetensors", molecules)
    numbers, positions, charges, bonds = (list(column) for column in zip(*molecules))
    with StoreWriter(tmp_path / "bulk.safetensors", source="a test") as out:
        out.add_arrays(
            np.concatenate(positions),
            [len(z) for z in numbers],
            numbers=np.concatenate(numbers),
            charges=np.concatenate(charges),
            bonds=np.concatenate(bonds),
            bond_counts=[len(b) for b in bonds],
        )
    assert (tmp_path / "single.safetensors").read_bytes() == (tmp_path / "bulk.safetensors").read_bytes()


def test_what_it_holds_is_told(tmp_path):
    path = tmp_path / "two.safetensors"
    with StoreWriter(path, source="by hand", meta={"units": "{}"}) as out:
        out.add(*WATER, split=2, smiles="O", props={"mu": 1.85})
        out.add(*CYANIDE, smiles="[C-]#N", props={"gap": 0.5})
    store = Store(path)
    assert len(store) == 2 and store.sizes.tolist() == [3, 2] and store.sizes.dtype == np.int32
    assert store.indices("train").tolist() == [1] and store.indices("val").tolist() == []
    assert store.indices("test").tolist() == [0] and store.indices().tolist() == [0, 1]
    assert store.smiles(1) == "[C-]#N" and store.all_smiles() == ["O", "[C-]#N"]
    assert store.prop_names == ("gap", "mu")
    assert store.props("mu")[0] == 1.85 and np.isnan(store.props("mu")[1]) and np.isnan(store.props("gap")[0])
    assert store.kinds() == [(1, 0), (6, -1), (7, 0), (8, 0)]
    assert store.elements == [1, 6, 7, 8] and store.bond_orders == [1, 3]
    assert store.meta["source"] == "by hand" and store.meta["units"] == "{}"
    assert store.batch([0], fields=("pos", "mu")).fields == ("pos",)
    assert store.batch([0], fields=("pos", "mu")).props["mu"].tolist() == [pytest.approx(1.85)]
    with pytest.raises(UserError, match=r"unknown property 'gab'.*'gap'"):
        store.props("gab")
    with pytest.raises(UserError, match="unknown split 'dev'"):
        store.indices("dev")
    with pytest.raises(UserError, match=r"unknown field of two.safetensors 'bonds'"):
        store.batch([0], fields=("bonds",))


def test_some_of_its_molecules_are_spread_over_all(tmp_path):
    store = write(tmp_path / "many.safetensors", random_molecules(10))
    for most in range(1, 10):  # even gaps, that after the last one too
        gaps = np.diff(store.indices("all", most), append=10)
        assert len(gaps) == most and gaps.max() - gaps.min() <= 1, most
    assert store.indices("all", 10).tolist() == store.indices("all", 99).tolist() == list(range(10))
    with pytest.raises(UserError, match="must be at least 1, not 0"):
        store.indices("all", 0)


def test_scale_is_the_deviation_of_a_centred_coordinate(tmp_path):
    rod = ([1, 1], [[5.0, 5, 5], [7.0, 5, 5]])  # at -1 and 1 on one of three axes: a mean square of 1/3
    store = write(tmp_path / "rods.safetensors", [rod, rod])
    assert store.scale() == pytest.approx(3**-0.5)


def test_a_bare_cloud_carries_no_labels(tmp_path):
    with StoreWriter(tmp_path / "cloud.safetensors", source="a test") as out:
        out.add(None, [[0.0, 1.0], [2.0, 3.0]])
    store = Store(tmp_path / "cloud.safetensors")
    assert store.fields == ("pos",) and store.kinds() == [] and store.dim == 2 and store.smiles(0) == ""
    assert store.batch([0]).pos.tolist() == [[[0, 1], [2, 3]]]


def test_a_molecule_of_more_than_255_atoms_keeps_its_bonds(tmp_path):
    n = 300
    chain = [[i, i + 1, 1] for i in range(n - 1)]
    store = write(tmp_path / "chain.safetensors", [([6] * n, np.arange(n * 3).reshape(n, 3), [0] * n, chain), CYANIDE])
    bond = store.batch([1, 0]).bond
    assert int(bond[1].sum()) == 2 * (n - 1) and int(bond[1, 298, 299]) == 1 and int(bond[0].sum()) == 6


def test_an_empty_or_impossible_index(tmp_path):
    store = write(tmp_path / "two.safetensors")
    assert len(store.batch([])) == 0
    for index in ([2], [-1]):
        with pytest.raises(IndexError):
            store.batch(index)
    with pytest.raises(ValueError, match="3 atoms"):
        store.batch([0], pad_to=2)


def test_it_travels_as_its_path(tmp_path, monkeypatch):
    write(tmp_path / "two.safetensors")
    monkeypatch.chdir(tmp_path)
    store = Store("two.safetensors")
    data = pickle.dumps(store)
    assert len(data) < 500
    monkeypatch.chdir("/")
    assert pickle.loads(data).batch([0]).atom.tolist() == [[8, 1, 1]]


def test_same_input_same_bytes_and_other_input_another_checksum(tmp_path):
    first = write(tmp_path / "a.safetensors")
    second = write(tmp_path / "b.safetensors")
    other = write(tmp_path / "c.safetensors", [CYANIDE, WATER])
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.checksum != other.checksum and first.checksum.startswith("sha256:")


def test_the_safetensors_package_reads_it_and_writes_it(tmp_path):
    from safetensors.numpy import load_file, save_file

    store = write(tmp_path / "ours.safetensors")
    arrays = load_file(store.path)
    assert arrays["bonds"].tolist() == [[0, 1, 1], [0, 2, 1], [0, 1, 3]] and content_checksum(arrays) == store.checksum
    save_file(arrays, tmp_path / "theirs.safetensors", metadata={"format": "molflow.store", "version": "1"})
    theirs = Store(tmp_path / "theirs.safetensors")
    assert theirs.batch([0, 1]).bond.equal(store.batch([0, 1]).bond)
    assert theirs.kinds() == store.kinds() and theirs.elements == [1, 6, 7, 8] and theirs.bond_orders == [1, 3]


# -- what is refused


def test_a_missing_file_names_the_verb_that_makes_one(tmp_path):
    with pytest.raises(UserError, match=r"no such file.*molflow data"):
        Store(tmp_path / "none.safetensors")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = write(tmp_path / "two.safetensors").path
    whole = path.read_bytes()
    for length in (0, 9, 60, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut short"):
            Store(path)
    path.write_bytes(whole[:5])
    with pytest.raises(UserError, match="not a molflow data file$"):
        Store(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=f"cut short .{len(whole) - 1:,} of {len(whole):,} bytes"):
        Store(path)


def test_a_changed_byte_is_found_by_verify(tmp_path):
    store = write(tmp_path / "two.safetensors")
    store.verify()
    data = bytearray(store.path.read_bytes())
    data[-3] ^= 1
    store.path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        Store(store.path).verify()


def test_foreign_files_are_named_for_what_they_are(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n")
    with pytest.raises(UserError, match=r"not a molflow data file(.|\n)*molflow data import .*water.xyz"):
        Store(tmp_path / "water.xyz")
    save_file({"weight": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="not one of molecules"):
        Store(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("version", "cure"), [("2", "update molflow"), ("0", "make the file again")])
def test_another_version_says_what_to_do(tmp_path, version, cure):
    from safetensors.numpy import save_file

    meta = {"format": "molflow.store", "version": version}
    save_file({"positions": np.zeros((1, 3))}, tmp_path / "other.safetensors", metadata=meta)
    with pytest.raises(UserError, match=f"version {version}.*{cure}"):
        Store(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a.pop("positions"), "no array 'positions'"),
        (lambda a: a.pop("smiles_offsets"), "missing"),
        (lambda a: a.update(offsets=a["offsets"][:-1]), "does not span"),
        (lambda a: a.update(charges=a["charges"][:-1]), "charges has shape"),
        (lambda a: a.update(split=a["split"][:-1]), "split has shape"),
    ],
)
def test_columns_that_do_not_fit_are_damage(tmp_path, change, why):
    from safetensors.numpy import save_file

    with StoreWriter(tmp_path / "two.safetensors", source="a test") as out:
        out.add(*WATER, smiles="O")
        out.add(*CYANIDE, smiles="[C-]#N")
    arrays = {k: np.array(v) for k, v in Store(tmp_path / "two.safetensors")._arrays.items()}
    change(arrays)
    save_file(arrays, tmp_path / "bad.safetensors", metadata={"format": "molflow.store", "version": "1"})
    with pytest.raises(UserError, match=f"damaged.*{why}"):
        Store(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("molecule", "why"),
    [
        (([8], [[0, 0, float("nan")]], [0], []), "not a finite number"),
        (([8], [[0, 0, 1e300]], [0], []), "not a finite number"),
        (([0], [[0, 0, 0]], [0], []), "atomic number"),
        (([8, 8], [[0, 0, 0]], [0, 0], []), "2 numbers for 1 atoms"),
        (([8], [[0, 0]], [0], []), "positions of shape"),
        (([8], [[0, 0, 0]], [99], []), "formal charge"),
        (([8, 1], [[0, 0, 0], [0, 0, 1]], [0, 0], [[0, 2, 1]]), "a bond to an atom that is not there"),
        (([8, 1], [[0, 0, 0], [0, 0, 1]], [0, 0], [[1, 1, 1]]), "with itself"),
        (([8, 1], [[0, 0, 0], [0, 0, 1]], [0, 0], [[0, 1, 1], [1, 0, 1]]), "two bonds"),
        (([8, 1], [[0, 0, 0], [0, 0, 1]], [0, 0], [[0, 1, 5]]), "bond order"),
        (([8, 1], [[0, 0, 0], [0, 0, 1]], [0, 0], None), "has charges, numbers, positions, but those before it"),
        (([], np.zeros((0, 3)), [], []), "no atoms"),
    ],
)
def test_a_refused_molecule_leaves_no_trace(tmp_path, molecule, why):
    with StoreWriter(tmp_path / "two.safetensors", source="a test") as out:
        out.add(*WATER)
        with pytest.raises(UserError, match=f"molecule 1:? .*{why}|molecule 1: {why}"):
            out.add(*molecule)
        out.add(*CYANIDE)
    write(tmp_path / "clean.safetensors")
    assert (tmp_path / "two.safetensors").read_bytes() == (tmp_path / "clean.safetensors").read_bytes()


def test_verify_finds_what_another_program_got_wrong(tmp_path):
    from safetensors.numpy import save_file

    arrays = {name: np.array(array) for name, array in write(tmp_path / "two.safetensors")._arrays.items()}
    for name, at, value, why in (
        ("bonds", (2, 1), 2, "molecule 1: a bond to an atom that is not there"),
        ("offsets", 1, 7, "molecule 1: no atoms"),
        ("numbers", 4, 0, "molecule 1: an atomic number"),
        ("positions", (0, 0), np.inf, "molecule 0: a coordinate"),
        ("split", 1, 3, "molecule 1: split"),
    ):
        wrong = {key: array.copy() for key, array in arrays.items()}
        wrong[name][at] = value
        save_file(wrong, tmp_path / "theirs.safetensors", metadata={"format": "molflow.store", "version": "1"})
        with pytest.raises(UserError, match=f"damaged: {why}"):
            Store(tmp_path / "theirs.safetensors").verify()


def test_an_existing_file_stays_unless_asked(tmp_path):
    path = write(tmp_path / "two.safetensors").path
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"exists.*--overwrite"):
        write(path, [CYANIDE])
    assert path.read_bytes() == before
    assert len(write(path, [CYANIDE], overwrite=True)) == 1


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "new.safetensors", source="a test") as out:
        out.add(*WATER)
        raise RuntimeError("the source broke")
    with pytest.raises(UserError, match="no molecules"), StoreWriter(tmp_path / "new.safetensors", source="a test"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        write(tmp_path / "new.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
@pytest.mark.parametrize("listens", [True, False])
def test_a_disk_that_fills_while_writing_is_said_even_to_a_caller_who_does_not_listen(tmp_path, listens):
    program = (
        "import contextlib, resource, signal, numpy as np; from molflow.build import UserError\n"
        "from molflow.data.writer import StoreWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
        f"ignored = {() if listens else 'UserError'}\n"
        "try:\n"
        "    with StoreWriter('new.safetensors', source='a test') as out:\n"
        "        for size in (100_000, 1):\n"
        "            with contextlib.suppress(ignored):\n"
        "                out.add_arrays(np.zeros((size, 3)), np.ones(size, int))\n"
        "except UserError as error: print(error)\n"
    )
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True
    )
    assert b"the disk is full" in done.stdout and list(tmp_path.iterdir()) == [], done.stderr


def test_a_damaged_header_never_ends_in_another_error(tmp_path):
    whole = write(tmp_path / "two.safetensors", list(random_molecules(5))).path.read_bytes()
    rng = np.random.default_rng(0)
    header = int.from_bytes(whole[:8], "little") + 8
    path = tmp_path / "bad.safetensors"
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, header, 2):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(UserError):
            Store(path)
