"""What of a configuration other models must agree with: what flows, from which noise, on which paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molflow.batch import FIELDS
from molflow.build import UserError, build, unknown
from molflow.config import Component, Config, mapping_of
from molflow.paths import PATHS


def fields_of(config: Config) -> list[str]:
    """What flows, in the order of a batch."""
    fields = list(config.data.fields)
    if "pos" not in fields:
        raise UserError("data.fields must hold pos: every molecule has coordinates")
    for name, why in (("bond", "bonds join atoms"), ("charge", "charges are those of atoms")):
        if name in fields and "atom" not in fields:
            raise UserError(f"data.fields holds {name} but not atom: {why}")
    return [name for name in FIELDS if name in fields]


def of_field(specs: Mapping[str, Component], what: str, name: str) -> Component:
    """What is said of one field, of ``what`` (prior or path)."""
    for key in specs:
        if key not in FIELDS:
            raise unknown(f"field of {what}", key, FIELDS)
    if name not in specs:
        raise UserError(f"{what}: nothing is said of {name}; give {what}.{name} a name")
    return specs[name]


def noise_of(config: Config) -> dict[str, Any]:
    """What decides a model's noise besides the facts: pairs of noise and sample are pairs under the same alone."""
    priors = {name: mapping_of(of_field(config.prior, "prior", name)) for name in fields_of(config)}
    return {"data.fields": fields_of(config), "data.centred": config.data.centred, "prior": priors}


def ways_of(config: Config) -> dict[str, Any]:
    """What decides where a model's states lie: its noise and its paths, whatever their errors weigh."""
    paths = {name: mapping_of(of_field(config.path, "path", name)) for name in fields_of(config)}
    return noise_of(config) | {
        "path": {name: {k: v for k, v in spec.items() if k not in ("weigh", "cap")} for name, spec in paths.items()}
    }


def predicted(config: Config) -> str:
    """What the network's positions mean."""
    return getattr(build("path", PATHS, of_field(config.path, "path", "pos")), "predicts", "endpoint")


def tells(network: Component) -> bool:
    """Whether a network is told what molecules have."""
    spec = mapping_of(network)
    return bool(spec.get("census")) or any(tells(runner) for runner in spec.get("runners", ()))
