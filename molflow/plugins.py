"""Parts that other installed packages bring: an entry point in the group of their family."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = {  # what a member of a family is called in configurations and messages -> the group of its entry points
    "path": "molflow.paths",
    "coupling": "molflow.couplings",
    "prior": "molflow.priors",
    "network": "molflow.networks",
    "solver": "molflow.solvers",
    "times": "molflow.times",
    "objective": "molflow.objectives",
    "protocol": "molflow.protocols",
    "measurement": "molflow.measurements",
    "toy": "molflow.toys",
}


def installed(what: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a family by name; nothing of theirs is imported.

    >>> installed("no family")
    {}
    """
    import sys

    found: dict[str, list[EntryPoint]] = {}
    for point in _points(GROUPS[what], tuple(sys.path)) if what in GROUPS else ():
        found.setdefault(point.name, []).append(point)
    return found


def load(what: str, name: str) -> Callable | None:
    """The part that an installed package brings under this name, or None if none does."""
    from molflow.build import UserError

    points = installed(what).get(name, [])
    if not points:
        return None
    if len(points) > 1:
        raise UserError(f"{what} {name!r} is brought by {' and by '.join(map(owner, points))}: uninstall one of them")
    (point,) = points
    whose = f"{what} {name!r} of the package {owner(point)} (entry point {point.group}: {point.name} = {point.value})"
    try:
        part = point.load()
    except Exception as error:  # whatever a package does when it is imported
        raise UserError(
            f"{whose} cannot be loaded: {type(error).__name__}: {error}; mend or uninstall that package"
        ) from error
    if not callable(part):
        raise UserError(f"{whose} is no class or function, but {part!r}")
    return part


def owner(point: EntryPoint) -> str:
    """The distribution that an entry point belongs to, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


@lru_cache(maxsize=32)
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Of what is installed along ``path``, each distribution once: one that shadows another is the one imported."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))
