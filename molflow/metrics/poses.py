"""PoseBusters' checks of single molecules."""

from __future__ import annotations

from collections import Counter
from typing import Any

from molflow.metrics.measurement import How, Measurement, Reference
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate
from molflow.metrics.relaxation import Molecule, sanitisable


class PoseBusters(Measurement):
    """The checks of PoseBusters' configuration ``mol`` (Buttenschoen, Morris & Deane 2024), hydrogens never implied.

    A molecule passes if every check does; one that failed before, does not sanitise, or runs out of time, fails.
    """

    name = "posebusters"
    tier = "posebusters"
    section = "posebusters"
    library, extra = "posebusters", "metrics"
    summary = "share that passes all PoseBusters checks of single molecules, and each check"
    denominator = "molecules of the subset, failed ones included"
    source = "Buttenschoen et al. 2024, doi:10.1039/D3SC04185A"

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        items, failed = sanitisable(sample)
        results = dict(zip(items, how.each(bust, list(items.values()), self.name)))
        failed |= {k: result for k, result in results.items() if isinstance(result, str)}
        checks: Counter[str] = Counter()
        passed = 0
        for result in results.values():
            if isinstance(result, dict):
                checks.update({name: int(ok) for name, ok in result.items()})
                passed += all(result.values())
        of = len(sample) + how.failed
        out: dict[str, Any] = {"molecules": len(sample), "passed": Rate(passed, of)}
        out["checks"] = {name: Rate(count, of) for name, count in checks.items()}
        out["failures"] = dict(Counter(failed.values()) + Counter({"failed": how.failed}))
        return out


def bust(molecule: Molecule) -> dict[str, bool]:
    """Every check by name; what could not be checked is not passed."""
    from posebusters import PoseBusters as Checks
    from rdkit import rdBase

    with rdBase.BlockLogs():
        table = Checks(config="mol").bust([molecule.to_rdkit()], None, None)
    return {str(name): str(value) == "True" for name, value in table.iloc[0].to_dict().items()}
