"""3D molecules and point clouds by flow matching: train, sample, score.

>>> import molflow
>>> flow = molflow.load("small")
>>> batch = flow.sample(4, steps=10, seed=0)
>>> batch
Batch(4 of 10-17 atoms, 3D, atom, charge, bond)
>>> mols = batch.to_rdkit()                         # RDKit molecules, None where RDKit cannot hold one
>>> report = batch.score()
>>> report["strict"].valid.of
4

Nothing heavy is imported until one of these names is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "Batch": "molflow.batch:Batch",
    "Store": "molflow.data.store:Store",
    "UserError": "molflow.build:UserError",
    "compare": "molflow.comparing:compare",
    "load": "molflow.checkpoint:load",
    "pick": "molflow.picking:pick",
    "read": "molflow.chem.mols:read",
    "relax": "molflow.minima:relax",
    "score": "molflow.evaluate:score",
    "straightness": "molflow.analysis.straightness:straightness",
    "vary": "molflow.varying:vary",
    "view": "molflow.viewer:view",
    "write": "molflow.chem.mols:write",
}
__all__ = [
    "Batch",
    "Store",
    "UserError",
    "__version__",
    "compare",
    "load",
    "pick",
    "read",
    "relax",
    "score",
    "straightness",
    "vary",
    "view",
    "write",
]

if TYPE_CHECKING:
    from molflow.analysis.straightness import straightness
    from molflow.batch import Batch
    from molflow.build import UserError
    from molflow.checkpoint import load
    from molflow.chem.mols import read, write
    from molflow.comparing import compare
    from molflow.data.store import Store
    from molflow.evaluate import score
    from molflow.minima import relax
    from molflow.picking import pick
    from molflow.varying import vary
    from molflow.viewer import view


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'molflow' has no attribute {name!r}")
    from molflow.build import resolve

    value = globals()[name] = resolve(_LAZY[name])
    return value


def __dir__() -> list[str]:
    return sorted(globals() | _LAZY)
