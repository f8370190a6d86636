"""``molflow data`` as a person types it."""

from __future__ import annotations

import json

import pytest

from molflow.cli import main
from molflow.data import qm9
from molflow.data.store import Store


def test_a_toy_is_made_and_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["data", "toy", "rings", "--n", "30", "--points", "5-6", "--seed", "3", "--out", "rings.safetensors"]) == 0
    )
    assert "30 clouds of 5-6 points in 2 dimensions" in capsys.readouterr().out
    assert main(["data", "info", "rings.safetensors", "--verify"]) == 0
    text = capsys.readouterr().out
    for part in (
        "30 clouds of points",
        "5 to 6, mean 5.",
        "train 24, val 3, test 3",
        "toy rings",
        "sha256:",
        "checked",
    ):
        assert part in text
    assert main(["data", "toy", "rings", "--out", "rings.safetensors"]) == 2
    assert "rings.safetensors exists" in capsys.readouterr().err
    assert len(Store("rings.safetensors")) == 30
    assert main(["data", "toy", "mine.npy", "--points", "3-4", "--out", "b.safetensors"]) == 2
    assert "'3-4' is no number" in capsys.readouterr().err


def test_qm9_from_an_archive(raw_qm9, tmp_path, capsys):
    out = tmp_path / "qm9.safetensors"
    command = ["data", "qm9", "--from", str(raw_qm9.archive), "--out", str(out), "--workers", "0"]
    assert main([*command, "--uncharacterized", str(raw_qm9.uncharacterized)]) == 0
    text = capsys.readouterr().out
    for part in ("13 molecules", "9 / 3 / 1", "1 uncharacterized molecules left out", "2 could not be read", "000014"):
        assert part in text
    assert main(["data", "info", str(out)]) == 0
    text = capsys.readouterr().out
    for part in (
        "3 to 19",
        "F 1",
        "N+ 1, O- 1",
        "double",
        "1 to 13 debye",
        "train 9, val 3, test 1",
        "QM9",
    ):
        assert part in text
    assert main(["data", "info", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["molecules"] == 13 and facts["kinds"]["N+"] == 1 and facts["properties"]["U0"]["unit"] == "hartree"
    assert sum(facts["sizes"].values()) == 13 and facts["checksum"] == Store(out).checksum
    assert main([*command, "--overwrite"]) == 0
    text = capsys.readouterr().out
    assert "uncharacterized molecules are among them" in text and qm9.UNCHARACTERIZED.md5 in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else", None])
def test_what_is_no_data_file_is_an_error_of_the_user(tmp_path, capsys, content):
    path = tmp_path / "some.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert main(["data", "info", str(path)]) == 2
    assert f"error: {path}" in capsys.readouterr().err
