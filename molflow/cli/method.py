"""How molecules are drawn, as commands that sample read it and say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from molflow.build import UserError
from molflow.solvers import SOLVERS
from molflow.solvers.schedule import GRIDS, LEARNED

if TYPE_CHECKING:
    from molflow.generate import Model
    from molflow.sampling import Sampling


class Method(TypedDict, total=False):
    """how molecules are drawn (default: as the model does)

    Args:
        grid: where the steps lie: <grids>
        solver: the method of a step: <solvers>; with keywords as '{name: churn, amount: 0.1}'
        temperature: below 1 takes likelier atoms and bonds, at some cost in variety
        haste: above 1 settles atoms and bonds before coordinates, which few steps need
        composition: how strongly elements are held to the formulas of the training set, such as 4; 0 leaves them alone
        valences: how strongly atoms and bonds are drawn such that they fit, such as 7; 0 draws each by itself
        precision: fp32, or bf16: quicker on processors that multiply bf16 themselves, and other molecules as good
    """

    grid: str | None
    solver: str | None
    temperature: float | None
    haste: float | None
    composition: float | None
    valences: float | None
    precision: str | None


Method.__doc__ = (
    (Method.__doc__ or "").replace("<solvers>", ", ".join(SOLVERS)).replace("<grids>", ", ".join([*GRIDS, LEARNED]))
)


def changed(model: Model, atoms: str | None = None, **method: Unpack[Method]) -> Sampling:
    """The model's own way of sampling with what the command line changes."""
    solver = method.get("solver")
    return model.how(atoms, **{**method, "solver": solver and component(solver)})


def asked(
    model: Model, steps: int | None, evaluations: int | None, atoms: str | None = None, **method: Unpack[Method]
) -> Sampling:
    """The same, of so many steps or evaluations, once it is known to suit the model."""
    if evaluations is not None and steps is not None:
        raise UserError("--steps and --evaluations both say how long; give one of them")
    how = changed(model, atoms, **method).updated(steps=steps)
    if evaluations is not None:
        how = how.spending(evaluations)
    model.times(how)
    return how


def component(text: str) -> str | dict[str, Any]:
    """A name, or keywords beside it, as YAML has them.

    >>> component("euler"), component("{name: churn, amount: 0.1}")
    ('euler', {'name': 'churn', 'amount': 0.1})
    """
    if not text.startswith("{"):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--solver {text!r} cannot be read; write a name, or '{{name: churn, amount: 0.1}}'") from None


def in_words(how: Sampling) -> str:
    """The method in words, with what it costs where that is not one evaluation a step."""
    method = how.method()
    name = how.solver if isinstance(how.solver, str) else how.solver["name"]
    cost = ""
    if method.evaluations is None:
        cost = ", as many evaluations as its tolerance needs"
    elif method.evaluations > 1:
        cost = f" of {method.evaluations} evaluations"
    precision = "" if how.precision == "fp32" else f", in {how.precision}"
    return f"{how.steps} {name} steps on a {how.grid} grid{cost}{precision}"
