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
    """M, the numbers of a census, where labels have so many classes.

    >>> width({"atom": 5, "bond": 4})
    11
    """
    return counted(classes) + (len(GRAPH) if "bond" in classes else 0)


def counted(classes: Mapping[str, int]) -> int:
    """How many of them count labels: of atoms all classes, of bonds all but the first, which is none."""
    return sum(count - 1 if name in PAIR_FIELDS else count for name, count in classes.items())


def take(x: Batch, classes: Mapping[str, int]) -> Tensor:
    """The census of encoded molecules, [B, M]: labels of each class, then what is told by the graph.

    Conjugated bonds are those of the first order between two atoms that each have one of a higher order.
    """
    laws = {name: one_hot(getattr(x, name), count).to(x.pos.dtype) for name, count in classes.items()}
    found = tally(laws, x)
    if x.bond is None or "bond" not in classes:
        return found
    bonded = ((x.bond > 0) & x.pair_mask).to(x.pos.dtype)  # [B, N, N]
    paths, degree = bonded @ bonded, bonded.sum(-1)
    edges, corners = degree.sum(-1) / 2, (degree * (degree - 1) / 2).sum(-1)
    three = (paths * bonded).sum((1, 2)) / 6
    four = (paths.square().sum((1, 2)) - 2 * edges - 4 * corners) / 8  # closed walks of four steps, less those back
    higher = ((x.bond > 1) & x.pair_mask).any(-1)
    conjugated = ((x.bond == 1) & x.pair_mask & higher.unsqueeze(2) & higher.unsqueeze(1)).sum((1, 2)) / 2
    return torch.cat([found, torch.stack([conjugated.to(found.dtype), three, four], 1)], 1)


def tally(laws: Mapping[str, Tensor], x: Batch) -> Tensor:
    """The expected numbers of labels with these laws [B, N, K] and [B, N, N, K], class by class."""
    parts = []
    for name, law in laws.items():
        if name in PAIR_FIELDS:
            parts.append((law * x.pair_mask.unsqueeze(-1)).sum((1, 2))[:, 1:] / 2)
        else:
            parts.append((law * x.mask.unsqueeze(-1)).sum(1))
    return torch.cat(parts, 1)
