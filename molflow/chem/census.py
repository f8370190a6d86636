"""What a molecule has, in numbers: what a network can be told before it draws one, as it is told the size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molflow.batch import PAIR_FIELDS, Batch

if TYPE_CHECKING:
    from molflow.chem.vocabulary import Vocabulary

CENSUS = "census"  # the property of a batch that holds it, [B, M]
UNKNOWN = -1  # in the place of its numbers, of a molecule that nothing is told of
GRAPH = ("conjugated bonds", "rings of three", "rings of four", "alternating rings of six")
PLACES = ("in rings of three", "in rings of four", "closing alternating rings of five")  # of atoms, each kind apart


def width(classes: Mapping[str, int]) -> int:
    """M, the numbers of a census, where labels have so many classes: of atoms all, of bonds all but the first, none.

    >>> width({"atom": 5, "bond": 4})
    27
    """
    labels = sum(count - 1 if name in PAIR_FIELDS else count for name, count in classes.items())
    return labels + (len(GRAPH) + len(PLACES) * classes["atom"] if "bond" in classes else 0)


def names(vocabulary: Vocabulary) -> list[str]:
    """What each number of a census counts.

    >>> from molflow.chem.vocabulary import Vocabulary
    >>> names(Vocabulary(("H", "C"), bonds=(0, 1, 2)))[:5]
    ['H', 'C', 'bonds of order 1', 'bonds of order 2', 'conjugated bonds']
    """
    words = {"atom": "{}", "charge": "atoms of charge {:+}", "bond": "bonds of order {}"}
    labels = {"atom": vocabulary.atoms, "charge": vocabulary.charges, "bond": vocabulary.bonds[1:]}
    counts = [words[name].format(label) for name in vocabulary.classes for label in labels[name]]
    places = [f"{kind} {place}" for place in PLACES for kind in vocabulary.atoms]
    return [*counts, *GRAPH, *places] if vocabulary.bonds else counts


def take(x: Batch, classes: Mapping[str, int]) -> Tensor:
    """The census of encoded molecules, [B, M]: labels class by class, then what is told by the graph."""
    return expected({name: one_hot(getattr(x, name), count).to(x.pos.dtype) for name, count in classes.items()}, x)


def expected(laws: Mapping[str, Tensor], x: Batch) -> Tensor:
    """The census to expect of labels with these laws, [B, N, K] and [B, N, N, K], if they were drawn each by itself.

    Of alternating rings it is that only where bonds are certain: before, walks that turn back count as some.
    """
    there = {name: x.pair_mask if name in PAIR_FIELDS else x.mask for name in laws}
    laws = {name: law * there[name].unsqueeze(-1) for name, law in laws.items()}
    counts = [law.sum((1, 2))[:, 1:] / 2 if name in PAIR_FIELDS else law.sum(1) for name, law in laws.items()]
    graph = _graph(laws["bond"], laws["atom"]) if "bond" in laws else []
    return torch.cat([*counts, *graph], 1)


def _graph(bonds: Tensor, atoms: Tensor) -> list[Tensor]:
    """GRAPH [B, 4] and PLACES [B, 3 K] from the laws of bonds, nothing outside of the pairs, and of atoms.

    Conjugated bonds are those of the first order between two atoms that each have one of a higher order. Of an
    alternating ring of six every second bond is of the second order, of one of five all but those of the closing atom,
    as of a furan's oxygen.
    """
    bonded, single, higher = bonds[..., 1:].sum(-1), bonds[..., 1], bonds[..., 2:].sum(-1)  # [B, N, N]
    unsaturated = 1 - (1 - higher).prod(-1)
    conjugated = (single * unsaturated.unsqueeze(2) * unsaturated.unsqueeze(1)).sum((1, 2)) / 2
    paths, square = bonded @ bonded, bonded.square()
    three = (paths * bonded).sum(2) / 2  # of each atom, [B, N]
    ends = square.sum(2)
    back = ends.square() + (square @ ends.unsqueeze(2)).squeeze(2) - square.square().sum(2)  # four steps, and no ring
    four = (paths.square().sum(2) - back) / 2
    double = bonds[..., 2] if bonds.shape[-1] > 2 else torch.zeros_like(single)
    pair = double @ single  # a double bond and a single one on
    twice = pair @ pair
    six = (twice * pair.transpose(1, 2)).sum((1, 2)) / 6
    five = (single * twice.transpose(1, 2)).sum(2) / 2  # of the atom that closes it
    totals = torch.stack([conjugated, three.sum(1) / 3, four.sum(1) / 4, six], 1)
    places = torch.stack([three, four, five], 1) @ atoms  # [B, 3, K]
    return [totals, places.flatten(1)]
