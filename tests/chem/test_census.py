"""What is counted of a molecule before it is drawn."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from rdkit import Chem

import molflow
from molflow.batch import Batch
from molflow.chem.census import GRAPH, PLACES, expected, take, width
from molflow.chem.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("H", "C", "N", "O", "O-", "N+"), (), (0, 1, 2, 3))
CLASSES = VOCABULARY.classes
LABELS = CLASSES["atom"] + CLASSES["bond"] - 1  # numbers of a census before those of the graph


def encoded(*smiles: str) -> Batch:
    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]
    for mol in mols:
        Chem.Kekulize(mol, clearAromaticFlags=True)
        mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    return VOCABULARY.encode(Batch.from_rdkit(mols))


def test_acrylonitrile_and_nitromethane_by_hand():
    rows = take(encoded("C=CC#N", "C[N+](=O)[O-]"), CLASSES).tolist()
    #                   H  C  N  O  O- N+ single double triple conjugated three four
    assert rows[0][:12] == [3, 3, 1, 0, 0, 0, 4, 1, 1, 1, 0, 0]
    assert rows[1][:12] == [3, 1, 0, 1, 1, 1, 5, 1, 0, 0, 0, 0]
    assert not any(rows[0][12:] + rows[1][12:]), "no rings"


@pytest.mark.parametrize(
    ("smiles", "conjugated", "three", "four"),
    [
        ("C1=CC=CC=C1", 3, 0, 0),
        ("C1CC1", 0, 1, 0),
        ("C1CCC1", 0, 0, 1),
        ("C1CCCC1", 0, 0, 0),
        ("C1CC2CC12", 0, 1, 1),
        ("C12C3C1C23", 0, 4, 3),  # tetrahedrane: four faces, and three ways round its four corners
        ("C12C3C4C1C5C2C3C45", 0, 0, 6),  # cubane
        ("C=C=C", 0, 0, 0),
        ("C=CC=CC=C", 2, 0, 0),
    ],
)
def test_small_rings_and_conjugated_bonds(smiles, conjugated, three, four):
    assert take(encoded(smiles), CLASSES)[0, LABELS : LABELS + 3].tolist() == [conjugated, three, four]


@pytest.mark.parametrize(
    ("smiles", "six", "closing"),
    [
        ("c1ccccc1", 1, {}),
        ("c1ccncc1", 1, {}),
        ("C1=CC=CCC1", 0, {}),
        ("c1ccoc1", 0, {"O": 1}),
        ("c1cc[nH]c1", 0, {"N": 1}),
        ("c1cnoc1", 0, {"O": 1}),
        ("C1=CCC=C1", 0, {"C": 1}),
        ("C1=CCCC1", 0, {}),
        ("o1cccc1-c1ccco1", 0, {"O": 2}),
        ("C=CC=CC=C", 0, {}),
    ],
)
def test_alternating_rings_by_hand(smiles, six, closing):
    row = take(encoded(smiles), CLASSES)[0]
    assert row[LABELS + GRAPH.index("alternating rings of six")] == six
    assert row[-CLASSES["atom"] :].tolist() == [closing.get(kind, 0) for kind in VOCABULARY.atoms]


def test_rings_are_those_that_a_search_finds():
    """Of bicycles, cages and fused rings, each kind of atom apart."""
    smiles = ["C1CC2CC12", "C12C3C1C23", "C1OC1C1CO1", "C1CN2CC12", "c1cc2ccoc2cn1", "C1=CC2=CC=CC2=C1", "C1OC2OC1O2"]
    for text in [*smiles, "C12C3C4C1C5C2C3C45", "C1=CC=CN1C1=COC=C1", "c1ccc2ccccc2c1"]:
        x = encoded(text)
        bond, kinds = x.bond[0], x.atom[0].tolist()
        graph = nx.Graph((bond > 0).nonzero().tolist())
        six, places = 0, {name: [0] * CLASSES["atom"] for name in PLACES}
        for ring in nx.simple_cycles(graph, length_bound=6):
            orders = [int(bond[a, b]) for a, b in zip(ring, ring[1:] + ring[:1])]
            turns = [orders[k:] + orders[:k] for k in range(len(ring))]
            if len(ring) in (3, 4):
                for atom in ring:
                    places[PLACES[len(ring) - 3]][kinds[atom]] += 1
            elif [1, 2, 1, 2, 1] in turns:
                places[PLACES[2]][kinds[ring[turns.index([1, 2, 1, 2, 1])]]] += 1
            six += [1, 2, 1, 2, 1, 2] in turns
        row = take(x, CLASSES)[0, LABELS:].tolist()
        assert row[3] == six, text
        assert row[len(GRAPH) :] == [count for counts in places.values() for count in counts], text


def test_it_does_not_depend_on_the_order_of_atoms_nor_on_padding():
    x = encoded("C1CC1C#N", "O", "C1=CC=CC=C1")
    generator = torch.Generator().manual_seed(0)
    order = torch.arange(x.mask.shape[1]).repeat(len(x), 1)
    for b, n in enumerate(x.sizes.tolist()):
        order[b, :n] = torch.randperm(n, generator=generator)
    assert torch.equal(take(x, CLASSES), take(x.permute(order), CLASSES))
    assert torch.equal(take(x, CLASSES)[1:2], take(x[1], CLASSES))
    spoilt = x.replace(atom=x.atom.masked_fill(~x.mask, 3), bond=x.bond.masked_fill(~x.pair_mask, 2))
    assert torch.equal(take(x, CLASSES), take(spoilt, CLASSES))


def test_expected_numbers_of_certain_labels_are_their_numbers():
    x = encoded("CC(=O)N", "C#C")
    laws = {name: torch.nn.functional.one_hot(getattr(x, name), count).float() for name, count in CLASSES.items()}
    assert torch.equal(expected(laws, x), take(x, CLASSES))
    assert take(x, CLASSES).shape[1] == width(CLASSES)


def test_without_bonds_atoms_alone_are_counted():
    classes = {"atom": CLASSES["atom"]}
    x = encoded("CO").only(["pos", "atom"])
    assert take(x, classes).tolist() == [[4, 1, 0, 1, 0, 0]]


def test_atoms_add_up_to_the_size():
    batch = molflow.load("small").sample(20, steps=10, seed=0)
    x = molflow.load("small").vocabulary.encode(batch)
    classes = molflow.load("small").vocabulary.classes
    found = take(x, classes)
    assert torch.equal(found[:, : classes["atom"]].sum(1).long(), batch.sizes)
    bonds = found[:, classes["atom"] : classes["atom"] + 3]
    assert torch.equal(bonds.sum(1).long(), (batch.bond > 0).sum((1, 2)) // 2)


def test_the_expected_census_is_the_mean_over_independent_draws():
    """Of labels; and of rings, which take each bond once."""
    random = torch.Generator().manual_seed(0)
    x = Batch.of_sizes([5])
    atom = torch.rand(1, 5, 6, generator=random).softmax(-1)
    bond = (3 * torch.randn(1, 5, 5, 4, generator=random)).softmax(-1)
    bond = torch.where(x.pair_mask.triu().unsqueeze(-1), bond, bond.transpose(1, 2))
    n = 20_000
    many = Batch.of_sizes([5] * n)
    drawn = {
        "atom": torch.multinomial(atom[0], n, replacement=True, generator=random).T,
        "bond": torch.multinomial(bond[0].flatten(0, 1), n, replacement=True, generator=random).T.reshape(n, 5, 5),
    }
    found = take(many.replace(**drawn).tidy(), CLASSES)
    mean, error = found.mean(0), found.std(0) / n**0.5
    off = (expected({"atom": atom, "bond": bond}, x)[0] - mean).abs() / (error + 1e-6)
    conjugated, six = LABELS, LABELS + 3  # which take a bond twice; those of alternating rings turn back on themselves
    exact = [k for k in range(len(off) - CLASSES["atom"]) if k not in (conjugated, six)]
    assert (off[exact] < 4.5).all()
