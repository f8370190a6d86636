"""Labels to class indices and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.elements import NUMBER, SYMBOL
from molflow.chem.vocabulary import Vocabulary, kind_name, parse_kind

PAIRS = [(1, 0), (6, 0), (7, 0), (7, 1), (8, -1), (16, 2)]


def batch_of(pairs, sizes=(4, 2, 3), seed=0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    batch = Batch.of_sizes(list(sizes))
    B, N = batch.mask.shape
    table = torch.tensor(pairs)[torch.randint(len(pairs), (B, N), generator=random)]
    bond = torch.tensor([0, 1, 2, 4])[torch.randint(4, (B, N, N), generator=random)]
    return batch.replace(atom=table[..., 0], charge=table[..., 1], bond=bond).tidy()


@given(st.lists(st.tuples(st.integers(1, 118), st.integers(-31, 31)), min_size=1, max_size=12), st.booleans())
@settings(max_examples=50, deadline=None)
def test_decoding_undoes_encoding(pairs, separate):
    batch = batch_of(pairs)
    vocabulary = Vocabulary.of(pairs, bonds=(1, 2, 4), separate_charge=separate)
    encoded = vocabulary.encode(batch)
    for name, count in vocabulary.classes.items():
        value = getattr(encoded, name)
        assert 0 <= int(value.min()) <= int(value.max()) < count
    decoded = vocabulary.decode(encoded)
    for name in ("atom", "charge", "bond"):
        assert torch.equal(getattr(decoded, name), getattr(batch, name)), name


@pytest.mark.parametrize("separate", [False, True])
def test_distributions_decode_to_their_likeliest_class(separate):
    batch = batch_of(PAIRS)
    vocabulary = Vocabulary.of(PAIRS, bonds=(1, 2, 4), separate_charge=separate)
    encoded = vocabulary.encode(batch)
    soft = encoded.replace(
        **{n: torch.nn.functional.one_hot(getattr(encoded, n), c).float() for n, c in vocabulary.classes.items()}
    )
    decoded = vocabulary.decode(soft)
    for name in ("atom", "charge", "bond"):
        assert torch.equal(getattr(decoded, name), getattr(batch, name)), name


def test_padding_takes_no_part():
    batch = batch_of(PAIRS)
    dirty = batch.replace(
        atom=batch.atom.masked_fill(~batch.mask, 99), bond=batch.bond.masked_fill(~batch.pair_mask, 77)
    )
    vocabulary = Vocabulary.of(PAIRS, bonds=(1, 2, 4))
    assert torch.equal(vocabulary.encode(dirty).atom, vocabulary.encode(batch).atom)
    assert torch.equal(vocabulary.encode(dirty).bond, vocabulary.encode(batch).bond)


def test_a_vocabulary_by_hand():
    vocabulary = Vocabulary.of([(8, -1), (6, 0), (1, 0), (7, 1), (7, 0)], bonds=(2, 1))
    assert vocabulary == Vocabulary(("H", "C", "N", "N+", "O-"), (), (0, 1, 2))  # neutral kinds first
    assert vocabulary.classes == {"atom": 5, "bond": 3}
    assert vocabulary.kinds[3] == (7, 1)
    separate = Vocabulary.of([(8, -1), (6, 0), (7, 1)], separate_charge=True)
    assert separate == Vocabulary(("C", "N", "O"), (-1, 0, 1), ())


def test_missing_labels_are_named():
    batch = batch_of(PAIRS)
    with pytest.raises(UserError, match=r"atom kind .* N\+.* is not in the model's vocabulary: H, C, N"):
        Vocabulary(("H", "C", "N", "O-", "S+2")).encode(batch)
    with pytest.raises(UserError, match="bond order 4 is not in the model's vocabulary: 0, 1, 2"):
        Vocabulary(bonds=(0, 1, 2)).encode(batch)
    with pytest.raises(UserError, match="carry none"):
        Vocabulary(("C",)).encode(batch.only([]))
    with pytest.raises(UserError, match="carry none"):
        Vocabulary(bonds=(0, 1)).encode(batch.only(["atom"]))


def test_fields_outside_the_vocabulary_are_dropped():
    batch = batch_of([(6, 0)])
    assert Vocabulary(("C",)).encode(batch).fields == ("pos", "atom")
    assert Vocabulary().encode(batch).fields == ("pos",)
    assert Vocabulary().decode(Batch.of_sizes([3])).fields == ("pos",)


@given(st.integers(1, 118), st.integers(-9, 9))
def test_names_of_kinds_are_read_back(number, charge):
    assert parse_kind(kind_name(number, charge)) == (number, charge)


@pytest.mark.parametrize(("name", "kind"), [("C", (6, 0)), ("N+", (7, 1)), ("S-2", (16, -2)), ("Cl", (17, 0))])
def test_kinds_by_hand(name, kind):
    assert parse_kind(name) == kind
    assert kind_name(*kind) == name


@pytest.mark.parametrize("name", ["", "Xx", "c", "N++", "+", "C1", "N+0", "*"])
def test_what_is_no_kind(name):
    with pytest.raises(UserError, match="no atom kind"):
        parse_kind(name)


def test_a_vocabulary_names_each_label_once():
    with pytest.raises(UserError, match="each label once"):
        Vocabulary(("C", "N", "C"))
    with pytest.raises(UserError, match="each label once"):
        Vocabulary(bonds=(0, 1, 1))
    with pytest.raises(UserError, match="neutral"):
        Vocabulary(("C", "N+"), charges=(0, 1))


def test_the_periodic_table():
    assert len(SYMBOL) == 119
    assert [NUMBER[symbol] for symbol in ("H", "C", "Cl", "I", "Og")] == [1, 6, 17, 53, 118]
    assert len(set(SYMBOL)) == 119
