"""A configuration -> the objects of the method, built by name from the families' dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from molflow.batch import FIELDS
from molflow.build import UserError, build, resolve, unknown
from molflow.chem.vocabulary import Vocabulary
from molflow.config import Component, Config
from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.generate import Model
from molflow.networks import NETWORKS
from molflow.objective import Objective
from molflow.paths import PATHS
from molflow.paths.joint import Joint
from molflow.paths.path import Path
from molflow.priors import PRIORS
from molflow.priors.prior import Prior, Product
from molflow.times import TIMES


@dataclass(frozen=True)
class Facts:
    """What a model keeps of its training data, so that sampling needs the data no more."""

    vocabulary: Vocabulary
    sizes: Sizes
    scale: float  # standard deviation of a centred coordinate
    dim: int
    checksum: str = ""

    @classmethod
    def of(cls, store: Store, config: Config) -> Facts:
        """Read from a store's training molecules."""
        fields = config.data.fields
        missing = [name for name in fields if name not in store.fields and name != "charge"]
        if missing:
            raise UserError(
                f"{store.path} carries {', '.join(store.fields)}, not {', '.join(missing)}; "
                "set data.fields to what it has"
            )
        vocabulary = Vocabulary()
        if "atom" in fields:
            bonds = store.bond_orders if "bond" in fields else ()
            vocabulary = Vocabulary.of(store.kinds(), bonds, separate_charge="charge" in fields)
        return cls(vocabulary, Sizes.of_store(store), store.scale(), store.dim, store.checksum)

    def to_dict(self) -> dict[str, Any]:
        labels = {name: list(getattr(self.vocabulary, name)) for name in ("atoms", "charges", "bonds")}
        sizes = {str(n): w for n, w in self.sizes.weights.items()}
        return {"vocabulary": labels, "sizes": sizes, "scale": self.scale, "dim": self.dim, "checksum": self.checksum}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Facts:
        labels = {name: tuple(entries) for name, entries in values["vocabulary"].items()}
        sizes = Sizes({int(n): w for n, w in values["sizes"].items()})
        return cls(Vocabulary(**labels), sizes, values["scale"], values["dim"], values.get("checksum", ""))


def make_model(config: Config, facts: Facts) -> Model:
    """The network (weights as initialised), its path and its prior."""
    fields = _fields(config)
    classes = facts.vocabulary.classes
    priors, paths, widths = [], {}, {}
    for name in fields:
        prior_spec, path_spec = _of_field(config.prior, "prior", name), _of_field(config.path, "path", name)
        if name == "pos":
            spec = {"scale": facts.scale, **_mapping(prior_spec)} if _name(prior_spec) == "gaussian" else prior_spec
            prior = build("prior", PRIORS, spec, field=name, channels=facts.dim, centred=config.data.centred)
            priors.append(prior)
            paths[name] = build("path", PATHS, path_spec)
            _check_fit(name, prior_spec, prior, path_spec, paths[name])
            continue
        prior = build("prior", PRIORS, prior_spec, field=name, channels=classes[name])
        states = prior.states(classes[name])
        priors.append(prior)
        paths[name] = build("path", PATHS, path_spec, states=states)
        _check_fit(name, prior_spec, prior, path_spec, paths[name])
        widths[name] = (states, classes[name])
    try:
        network = build("network", NETWORKS, config.network, fields=widths, dim=facts.dim)
    except (RuntimeError, ArithmeticError) as error:  # torch's word for a width below one
        raise UserError(f"network {config.network}: it cannot be built ({error})") from error
    return Model(
        network,
        Joint(paths),
        Product(priors),
        facts.vocabulary,
        facts.sizes,
        dim=facts.dim,
        defaults=config.sample,
    )


def make_objective(config: Config, model: Model) -> Objective:
    """What training minimises."""
    weights = {name: config.loss.weights.get(name, 1.0) for name in model.path.paths}
    couplings = [build("coupling", COUPLINGS, spec) for spec in config.coupling]
    turns = any(coupling.turns for coupling in couplings)
    if turns and not (config.data.centred and "rotation" in model.network.symmetries):
        why = "clouds that are not centred" if not config.data.centred else f"network {_name(config.network)}"
        raise UserError(
            f"coupling align turns the noise onto the data, and {why} would learn that turn: give it rotate: false"
        )
    times = build("times", TIMES, config.times)
    return Objective(
        model.prior, Chain(couplings), model.path, times, weights, hint=config.loss.hint, centred=config.data.centred
    )


def _fields(config: Config) -> list[str]:
    fields = list(config.data.fields)
    if "pos" not in fields:
        raise UserError("data.fields must hold pos: every molecule has coordinates")
    if "bond" in fields and "atom" not in fields:
        raise UserError("data.fields holds bond but not atom: bonds join atoms")
    return [name for name in FIELDS if name in fields]


def _of_field(specs: Mapping[str, Component], what: str, name: str) -> Component:
    for key in specs:
        if key not in FIELDS:
            raise unknown(f"field of {what}", key, FIELDS)
    if name not in specs:
        raise UserError(f"{what}: nothing is said of {name}; give {what}.{name} a name")
    return specs[name]


def _check_fit(field: str, prior_spec: Component, prior: Prior, path_spec: Component, path: Path) -> None:
    """Labels want a path of labels, and a path wants the prior's kind of state."""
    if field != "pos" and not hasattr(path, "states"):
        raise UserError(f"path.{field}: {_name(path_spec)!r} is a path of coordinates; labels take jump or one_hot")
    if prior.discrete != path.discrete:
        fitting = [name for name, target in PRIORS.items() if resolve(target).discrete == path.discrete]  # type: ignore
        path_name, prior_name = _name(path_spec), _name(prior_spec)
        raise UserError(f"prior.{field}: path {path_name!r} starts from {' or '.join(fitting)}, not {prior_name!r}")


def _name(spec: Component) -> str:
    return spec if isinstance(spec, str) else str(spec.get("name", ""))


def _mapping(spec: Component) -> dict[str, Any]:
    return {"name": spec} if isinstance(spec, str) else dict(spec)
