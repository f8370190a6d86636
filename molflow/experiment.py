"""A configuration -> the objects of the method. Each key of a YAML file is a field here or a constructor's keyword."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from molflow.batch import FIELDS
from molflow.build import UserError, build, from_mapping, resolve, unknown
from molflow.chem.vocabulary import Vocabulary
from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.generate import Model, Sampling
from molflow.networks import NETWORKS
from molflow.objective import Objective
from molflow.paths import PATHS
from molflow.paths.joint import Joint
from molflow.paths.path import Path as FieldPath
from molflow.priors import PRIORS
from molflow.priors.prior import Prior, Product
from molflow.times import TIMES

Component = str | dict[str, Any]  # a name, or {name: ..., keyword: ...}


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    pairs: int = 20_000  # B N^2 of a batch
    workers: int = 0  # processes that make batches; 0 makes them in the training process
    fields: Sequence[Literal["pos", "atom", "charge", "bond"]] = ("pos", "atom", "bond")  # those that flow
    centred: bool = True  # molecules have no place in space; densities of points do

    def __post_init__(self):
        _require("data.pairs", self.pairs, self.pairs >= 1, "at least 1")
        _require("data.workers", self.workers, self.workers >= 0, "0 or more")


@dataclass(frozen=True)
class LossConfig:
    weights: dict[str, float] = field(default_factory=lambda: {"pos": 1.0, "atom": 0.5, "charge": 0.5, "bond": 0.5})
    hint: float = 0.5  # share of the steps that train with a previous prediction at hand

    def __post_init__(self):
        _require("loss.hint", self.hint, 0 <= self.hint <= 1, "between 0 and 1")
        for name, weight in self.weights.items():
            if name not in FIELDS:
                raise unknown("field of loss.weights", name, FIELDS)
            _require(f"loss.weights.{name}", weight, weight >= 0, "0 or more")


@dataclass(frozen=True)
class TrainConfig:
    epochs: float = 10.0
    steps: int | None = None  # instead of epochs
    lr: float = 5e-3
    warmup: float = 0.04  # share of the run
    decay: Literal["linear", "cosine"] = "linear"
    beta2: float = 0.99
    weight_decay: float = 0.01
    clip: float = 1.0  # norm of the gradient
    ema: float = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on CUDA devices that have it
    device: str = "auto"
    devices: int = 1  # processes of data-parallel training
    validate: int = 10  # times a run
    samples: int = 100  # molecules sampled and scored at each validation
    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "csv"  # besides metrics.csv, which is always written

    def __post_init__(self):
        for name in ("epochs", "steps", "lr", "clip"):
            value = getattr(self, name)
            _require(f"train.{name}", value, value is None or 0 < value < float("inf"), "above 0")
        for name in ("warmup", "beta2", "ema"):
            _require(f"train.{name}", getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name, least in (("weight_decay", 0), ("devices", 1), ("validate", 1), ("samples", 0)):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) >= least, f"at least {least}")


@dataclass(frozen=True)
class Config:
    """One experiment, complete."""

    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    prior: dict[str, Component] = field(
        default_factory=lambda: {"pos": "gaussian", "atom": "uniform", "charge": "uniform", "bond": "uniform"}
    )
    coupling: Sequence[Component] = ("align",)
    path: dict[str, Component] = field(
        default_factory=lambda: {"pos": "linear", "atom": "jump", "charge": "jump", "bond": "jump"}
    )
    times: Component = field(default_factory=lambda: {"name": "beta", "a": 2.0, "b": 1.0})
    network: Component = "dense"
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: Sampling = field(default_factory=Sampling)

    def to_dict(self) -> dict[str, Any]:
        return _plain(asdict(self))


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


# -- configurations as files


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """A YAML file with ``{"train.lr": 1e-3}``-style overrides, checked key by key."""
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        shipped = ", ".join(sorted(str(p) for p in Path("configs").glob("*.yaml")))
        raise UserError(
            f"cannot read {path}: {error.strerror}" + (f"; there are {shipped}" if shipped else "")
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text file, so no configuration") from None
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values")
    for key, value in (overrides or {}).items():
        set_key(values, key, value)
    return parse_config(values, str(path))


def parse_config(values: Mapping[str, Any], where: str = "") -> Config:
    """A configuration from nested values; unknown keys and wrong types are errors that name the choices."""
    return from_mapping(Config, values, where)


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """values["a"]["b"] = value for key ``a.b``; text is read as YAML (``1e-3``, ``[a, b]``, ``null``)."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        if isinstance(inner, str) and parents[-1] == parent:  # network.width=64 where the file says network: dense
            inner = {"name": inner}
        values[parent] = inner if isinstance(inner, dict) else {}
        values = values[parent]
    try:
        values[last] = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise UserError(f"{key}: {value!r} is no YAML value; quote it if it is a text") from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False)


def _require(key: str, value: Any, holds: bool, what: str) -> None:
    if not holds:
        raise UserError(f"{key} must be {what}, not {value}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


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


def _check_fit(field: str, prior_spec: Component, prior: Prior, path_spec: Component, path: FieldPath) -> None:
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
