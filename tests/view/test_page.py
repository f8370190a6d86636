"""Pages as text: what they allow, what they escape, what they say."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import molflow
from molflow.build import UserError
from molflow.chem.molecule import build_mol
from molflow.chem.note import write_note
from molflow.cli import main
from molflow.viewer import page
from molflow.viewer.document import Page, embed, text
from molflow.viewer.figures import similarity
from molflow.viewer.gather import chosen, gather
from molflow.viewer.plots import Line, chart, histogram, ticks
from molflow.viewer.provenance import beside
from molflow.viewer.structure import smiles_of

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


class Tags(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, markup: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def hostile_page(hostile_sdf) -> str:
    return page(hostile_sdf, strain=False).html()


def test_a_policy_names_each_script_and_allows_nothing_else():
    script = "document.title = 'ours'"
    sum64 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = Page("x", scripts=[script]).policy()
    assert f"script-src 'sha256-{sum64}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy and "http" not in policy


def test_a_script_that_would_end_early_is_refused():
    with pytest.raises(ValueError, match="its own end"):
        Page("x", scripts=["'</SCRIPT>'"]).html()


def test_texts_and_data_hold_no_markup():
    assert html.unescape(text(HOSTILE)) == HOSTILE and "<" not in text(HOSTILE)
    assert "<" not in embed({HOSTILE: HOSTILE}) and json.loads(embed({"a": HOSTILE})) == {"a": HOSTILE}
    assert text("a\x00b\u202ec") == "a\ufffdb\ufffdc"  # no control character, no change of direction


def test_hostile_names_make_no_element(hostile_page):
    found = Tags(hostile_page).found
    assert [tag for tag, _ in found if tag in ("img", "iframe", "object", "embed", "link", "base", "form")] == []
    assert [name for _, attrs in found for name in attrs if name.startswith("on") or name in ("src", "srcdoc")] == []
    assert len([tag for tag, attrs in found if tag == "script" and "type" not in attrs]) == 2


def test_the_page_asks_for_nothing_and_evaluates_nothing(hostile_page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile_page)[1]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy and "http" not in policy
    assert "script-src 'sha256-" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    assert not [attrs for tag, attrs in Tags(hostile_page).found if str(attrs.get("href", "")).startswith("http")]


def test_names_come_through_as_they_are(hostile_page):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', hostile_page, re.S)[1])
    assert data["molecules"][0]["title"] == HOSTILE[:200]
    assert not any("<" in name for name in data["dataset"]["properties"])  # what the map's own markup would show
    assert "chemiscope developers" in hostile_page and "Redistribution and use" in hostile_page


def test_a_choice_is_seeded_and_said(small_sdf):
    assert chosen(100, 5, seed=1) == chosen(100, 5, seed=1) != chosen(100, 5, seed=2)
    made = page(small_sdf, limit=5, strain=False).html()
    assert "5 of the 8 molecules are here, drawn at random with seed 0" in made
    assert len(json.loads(re.search(r'id="data">(.*?)</script>', made, re.S)[1])["molecules"]) == 5


def test_every_seed_draws(small_sdf, few_molecules, tmp_path):
    assert chosen(100, 5, seed=-1) != chosen(100, 5, seed=0)
    assert len(chosen(100, 5, seed=10**20)) == 5
    assert "with seed -1" in page(small_sdf, reference=few_molecules, limit=5, seed=-1, strain=False).html()


def test_data_files_are_named_by_pattern(few_molecules):
    pattern = str(few_molecules.parent / "*.safetensors")
    made = page(pattern, reference=pattern, limit=2, strain=False).html()
    assert "60 molecules" in made and "few.safetensors" in made


def test_unreadable_records_are_counted_and_not_drawn(small_sdf, tmp_path):
    path = tmp_path / "broken.sdf"
    path.write_text(small_sdf.read_text() + "name\n\n\nnot a molecule\n$$$$\n")
    made = page(path, strain=False).html()
    assert "9 molecules" in made and "1 more cannot be drawn" in made
    assert "unreadable" in made


def test_an_xyz_file_has_no_bonds_until_they_are_perceived(small_sdf, tmp_path):
    molflow.write(molflow.read(small_sdf)[:4], tmp_path / "a.xyz")
    bare, perceived = (gather(str(tmp_path / "a.xyz"), [0, 2], perceive=each).molecules for each in (False, True))
    assert not bare.has_bonds.any()
    assert perceived.has_bonds.all() and len(perceived.bonds)


def test_a_file_without_coordinates_is_refused(tmp_path):
    (tmp_path / "a.smi").write_text("CCO\n")
    with pytest.raises(UserError, match="no molecule has coordinates"):
        page(tmp_path / "a.smi")


def test_the_command_writes_a_page_and_keeps_what_exists(small_sdf, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["view", str(small_sdf), "-o", str(out), "--no-strain", "--max", "2"]) == 0
    assert "it needs no network" in capsys.readouterr().out
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["view", str(small_sdf), "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_similarity_of_a_molecule_to_itself_is_one():
    from rdkit import Chem

    from molflow.metrics.intake import of_mols

    molecules = of_mols([Chem.AddHs(Chem.MolFromSmiles("CCO"))])
    assert similarity(molecules, ["CCCC", "CCO"]) == [1.0]
    assert similarity(molecules, ["CCCC"])[0] < 0.5


def test_plots_stay_in_their_frame():
    drawn = histogram(np.array([1.0, 2, 2, 3]), np.array([2.0, 2]), "atoms", whole=True)
    lines = [Line("a < b", [1, 10, 100], [0, 0.5, 1], dots=True), Line("c", [1, 100], [1, 0])]
    drawn += chart(lines, "steps", "loss", log_x=True)
    for path in re.findall(r' d="M([^"hvH]*)"', drawn):
        for point in path.split("L"):
            x, y = map(float, point.split(","))
            assert 0 <= x <= 320 and 0 <= y <= 190
    assert "a &lt; b" in drawn
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]


def test_a_report_beside_the_molecules_tells_where_they_come_from_if_it_means_them(small_sdf, tmp_path):
    copy = tmp_path / "copy.sdf"
    copy.write_bytes(small_sdf.read_bytes())
    entry = {"file": str(copy), "checksum": "sha256:1"}
    told = {"model": "small", "seed": 3, "steps": 50, "checksum": "sha256:1", "versions": {"molflow": "0.1.0"}}
    (tmp_path / "copy.json").write_text(json.dumps(told))
    facts = beside(entry)
    assert facts["model"] == "small" and facts["seed"] == 3 and facts["molflow, then"] == "0.1.0"
    assert beside(entry | {"checksum": "sha256:2"}) == {}


def test_a_hydrogen_that_something_else_than_a_single_bond_holds_is_shown():
    water = build_mol([8, 1, 1], [0, 0, 0], [(0, 1, 1), (0, 2, 1)])
    wrong = build_mol([8, 1, 1], [0, 0, 0], [(0, 1, 2), (0, 2, 1)])
    assert smiles_of(water) == "O"
    assert smiles_of(wrong) == "[H]=[OH]"


def test_of_several_files_each_says_where_it_comes_from(small_sdf, tmp_path):
    for name, model in (("a", "one"), ("z", "other")):
        (tmp_path / f"{name}.sdf").write_bytes(small_sdf.read_bytes())
        write_note(tmp_path / f"{name}.sdf", {"model": model})
    made = page([tmp_path / "a.sdf", tmp_path / "z.sdf"], strain=False).html()
    assert "<dt>model, 1</dt><dd>one</dd>" in made and "<dt>model, 2</dt><dd>other</dd>" in made
