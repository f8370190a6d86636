"""What is counted of a molecule before it is drawn."""

from __future__ import annotations

import pytest
import torch
from rdkit import Chem

import molflow
from molflow.batch import Batch
from molflow.chem.census import GRAPH, expected, take, width
from molflow.chem.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("H", "C", "N", "O", "O-", "N+"), (), (0, 1, 2, 3))
CLASSES = VOCABULARY.classes


def encoded(*smiles: str) -> Batch:
    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]
    for mol in mols:
        Chem.Kekulize(mol, clearAromaticFlags=True)
        mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    return VOCABULARY.encode(Batch.from_rdkit(mols))


def test_acrylonitrile_and_nitromethane_by_hand():
    rows = take(encoded("C=CC#N", "C[N+](=O)[O-]"), CLASSES).tolist()
    #                   H  C  N  O  O- N+ single double triple conjugated three four
    assert rows[0] == [3, 3, 1, 0, 0, 0, 4, 1, 1, 1, 0, 0]
    assert rows[1] == [3, 1, 0, 1, 1, 1, 5, 1, 0, 0, 0, 0]


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
    assert take(encoded(smiles), CLASSES)[0, -len(GRAPH) :].tolist() == [conjugated, three, four]


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
    assert ((expected({"atom": atom, "bond": bond}, x)[0] - mean).abs() < 4.5 * error + 1e-6)[[*range(9), 10, 11]].all()
