"""A measurement: figures of a sample of the molecules, beside those of training molecules where they help."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

from molflow.build import UserError
from molflow.metrics.inventory import Inventory
from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import NO_REFERENCE
from molflow.workers import Failure, map_killable


@dataclass(frozen=True)
class How:
    """With how many processes, seconds for a molecule, and a progress bar or not; beside how many that failed before.

    ``failed`` molecules have no structure to measure, and were drawn with the sample: shares of it count them.
    """

    workers: int = 0
    timeout: float = 30.0
    progress: bool = False
    failed: int = 0

    def each(self, function: Callable, items: Sequence[Any], what: str) -> Iterator[Any]:
        """The result for each item, or why there is none as a text; always in processes that can be killed."""
        from tqdm import tqdm

        results = map_killable(function, items, max(1, self.workers), self.timeout)
        for _, result in tqdm(results, total=len(items), desc=what, disable=not self.progress, leave=False):
            if not isinstance(result, Failure):
                yield result
            else:
                yield result.kind if result.kind != "error" else f"error: {result.message[:60]}"


@dataclass(frozen=True)
class Reference:
    """Training and held-out molecules, drawn at random with the seed of the score."""

    train: Molecules = field(default_factory=Molecules.none)
    held_out: Molecules = field(default_factory=Molecules.none)


def lacking(sample: Molecules, reference: Reference | None) -> str:
    """Why a sample cannot be compared with a reference, if it cannot."""
    if reference is None:
        return NO_REFERENCE
    if not len(sample):
        return "there are no molecules to compare"
    return "" if len(reference.train) else "the reference takes two molecules at least, or held-out ones"


class Measurement(ABC):
    """Figures of a sample."""

    name: ClassVar[str]
    tier: ClassVar[str]  # that asks for it: fast, forcefield, ...; its own name where a package brings it
    section: ClassVar[str]  # of the report
    needs: ClassVar[tuple[str, ...]] = ("bonds", "coordinates")
    wants_reference: ClassVar[bool] = False
    summary: ClassVar[str]
    denominator: ClassVar[str]
    source: ClassVar[str]
    library: ClassVar[str] = ""  # that is not installed with the package
    extra: ClassVar[str] = ""  # that installs it

    def inapplicable(self, inventory: Inventory) -> str:
        """Why these molecules cannot be measured, or an empty text."""
        return inventory.lack(*self.needs)

    def require(self) -> None:
        """Raise a UserError if the library that it stands on is not installed."""
        from importlib.util import find_spec

        if self.library and find_spec(self.library) is None:
            raise UserError(f"the tier {self.tier} needs {self.library}: pip install 'molflow[{self.extra}]'")

    @abstractmethod
    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        """Every figure by name: ``Rate``, ``Mean``, plain numbers and texts, and dictionaries of them."""


def plain(value: Any) -> Any:
    """The same figures as dictionaries, lists, numbers and texts; what is no finite number is None."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value
