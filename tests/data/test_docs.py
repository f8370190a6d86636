"""docs/data-format.md is what the code does."""

from __future__ import annotations

import re

import numpy as np

from molflow.data.format import CODES
from molflow.data.qm9_raw import UNITS
from molflow.data.store import Store, StoreWriter


def test_the_python_of_the_page_runs(root, tmp_path, monkeypatch, capsys):
    page = (root / "docs/data-format.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.MULTILINE)
    programs = ["\n".join(line[4:] for line in block.splitlines()) for block in blocks if " import " in block]
    monkeypatch.chdir(tmp_path)
    positions, offsets = np.zeros((3, 3), np.float32), np.array([0, 1, 3])
    for program in programs:
        (tmp_path / "mine.safetensors").unlink(missing_ok=True)
        exec(program, {"positions": positions, "offsets": offsets, "numbers": np.array([6, 8, 1], np.uint8)})
    assert len(programs) == 2 and "[1, 0, 0]" in capsys.readouterr().out
    assert Store("mine.safetensors").sizes.tolist() == [1, 2]


def test_the_tables_name_every_array_and_key(root, tmp_path):
    page = (root / "docs/data-format.md").read_text()
    documented = dict(re.findall(r"^\| `([\w.<>]+)` \| ([FIU]\d+)", page, re.MULTILINE))
    with StoreWriter(tmp_path / "a", source="a test") as out:
        out.add([8, 1], [[0, 0, 0], [0, 0, 1]], [-1, 0], [[0, 1, 1]], smiles="[OH-]", props={"<name>": 1})
    store = Store(tmp_path / "a")
    names = {np.dtype(numpy): code for code, numpy in CODES.items()}
    assert documented == {name: names[array.dtype] for name, array in store._arrays.items()}
    assert all(f"| `{key}` |" in page for key in store.meta)


def test_the_properties_of_qm9_are_documented_with_their_units(root):
    page = (root / "docs/data-format.md").read_text()
    units = {}
    for names, unit in re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| ?([\w^/() ]*?) ?\|", page[page.index("## What") :], re.M
    ):
        units |= dict.fromkeys(re.findall(r"\w+", names), unit)
    assert units == {"gdb_index": "", **UNITS}
