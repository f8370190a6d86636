"""What a network is: the fields it reads and predicts, and the symmetries it promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from molflow.batch import Batch
from molflow.build import UserError

Widths = Mapping[str, tuple[int, int]]  # label field -> (states it may be in, classes to predict)
Hint = Mapping[str, Tensor]  # the endpoint predicted one evaluation ago


def check_counts(network: str, **counts: int) -> None:
    """A UserError where a network would have none of a part, or fewer."""
    if few := [f"{name} {count}" for name, count in counts.items() if count < 1]:
        raise UserError(f"network {network!r}: its numbers are at least 1, not {', '.join(few)}")


class Network(nn.Module, ABC):
    """Predicts the molecule at the end of the path from the one under way.

    Every network commutes with permutations of the atoms; ``symmetries`` names what else it commutes with.
    """

    symmetries: frozenset[str] = frozenset({"rotation", "translation", "reflection"})
    spans = False  # whether it reads a span, and so can leap
    census = False  # whether it reads what a molecule is to have (chem/census.py)
    whole = True  # whether it is one program whatever is in a batch of a shape, as a CUDA graph has to be

    def at(self, t: float) -> Network:
        """The network that answers at a time which all molecules share: known on the host, which need not wait."""
        return self

    def grown(self, weights: Mapping[str, Tensor], fewer: Network) -> dict[str, Tensor]:
        """Those of a network alike that knows fewer labels, for this one, which knows new ones after them.

        A UserError where a network cannot.
        """
        raise UserError(f"network {type(self).__name__.lower()!r} learns no new labels")

    @abstractmethod
    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Positions [B, N, D] and, for each label field, logits [B, N, K] or, symmetric, [B, N, N, K].

        Of the endpoint expected at t; with a ``span`` [B] of the one which, held until t + span, leads where the flow
        leads. Only a network with ``spans`` is ever given one.
        """
