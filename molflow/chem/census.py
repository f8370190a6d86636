"""What a molecule has, in numbers: what a network can be told before it draws one, as it is told the size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molflow.batch import PAIR_FIELDS, Batch

CENSUS = "census"  # the property of a batch that holds it, [B, M]
UNKNOWN = -1  # in the place of its numbers, of a molecule that nothing is told of
GRAPH = ("conjugated bonds", "rings of three", "rings of four")


def width(classes: Mapping[str, int]) -> int:
    """M, the numbers of a census, where labels have so many classes: of atoms all, of bonds all but the first, none.

    >>> width({"atom": 5, "bond": 4})
    11
    """
    labels = sum(count - 1 if name in PAIR_FIELDS else count for name, count in classes.items())
    return labels + (len(GRAPH) if "bond" in classes else 0)


def take(x: Batch, classes: Mapping[str, int]) -> Tensor:
    """The census of encoded molecules, [B, M]: labels class by class, then what is told by the graph."""
    return expected({name: one_hot(getattr(x, name), count).to(x.pos.dtype) for name, count in classes.items()}, x)


def expected(laws: Mapping[str, Tensor], x: Batch) -> Tensor:
    """The census to expect of labels with these laws, [B, N, K] and [B, N, N, K], if they were drawn each by itself.

    Conjugated bonds are those of the first order between two atoms that each have one of a higher order.
    """
    parts = []
    for name, law in laws.items():
        there = x.pair_mask if name in PAIR_FIELDS else x.mask
        law = law * there.unsqueeze(-1)
        if name in PAIR_FIELDS:
            parts += [law.sum((1, 2))[:, 1:] / 2, _graph(law)]
        else:
            parts.append(law.sum(1))
    return torch.cat(parts, 1)


def _graph(law: Tensor) -> Tensor:
    """Conjugated bonds, rings of three and of four, [B, 3], from the laws of bonds, nothing outside of the pairs."""
    bonded, single, higher = law[..., 1:].sum(-1), law[..., 1], law[..., 2:].sum(-1)  # [B, N, N]
    unsaturated = 1 - (1 - higher).prod(-1)
    conjugated = (single * unsaturated.unsqueeze(2) * unsaturated.unsqueeze(1)).sum((1, 2)) / 2
    paths, square = bonded @ bonded, bonded.square()
    three = (paths * bonded).sum((1, 2)) / 6
    back = 2 * square.sum(-1).square().sum(-1) - square.square().sum((1, 2))  # walks of four steps that are no ring
    four = (paths.square().sum((1, 2)) - back) / 8
    return torch.stack([conjugated, three, four], 1)
