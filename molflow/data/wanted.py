"""What the molecules to be generated are to have: as those of the training set, or as the user asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from molflow.build import UserError
from molflow.chem.elements import SYMBOL
from molflow.chem.formula import parse, spell
from molflow.data.censuses import Censuses
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes

Request = str | int | Sequence[int] | None  # sizes, or a formula


def formula_in(request: Request) -> str | None:
    """The formula that is asked for; None if it is sizes, or nothing.

    >>> formula_in("C7H10O2"), formula_in("9-12"), formula_in([9, 12])
    ('C7H10O2', None, None)
    """
    text = request.strip() if isinstance(request, str) else ""
    return text if text[:1].isupper() else None


@dataclass(frozen=True)
class Wanted:
    """The distributions of sizes, and at each size of formulas and censuses."""

    sizes: Sizes
    formulas: Formulas
    censuses: Censuses

    def asked(self, request: Request, kinds: Sequence[tuple[int, int]]) -> Wanted:
        """Those of the molecules that a user asks for, of a model that knows these kinds of atoms.

        A formula keeps the censuses that have it; of one that the training set lacks nothing more is told.
        """
        text = formula_in(request)
        if text is None:
            return replace(self, sizes=self.sizes.asked(request))
        counts, numbers = parse(text), [number for number, _ in kinds]
        strange = [SYMBOL[number] for number in counts if number not in numbers]
        if strange:
            known = ", ".join(SYMBOL[number] for number in sorted(set(numbers))) or "no elements"
            raise UserError(f"atoms: {text} has {', '.join(strange)}, and this model knows {known}")
        return Wanted(Sizes({counts.total(): 1}), Formulas({spell(counts): 1}), self.censuses.having(counts, numbers))
