"""A configuration: what one experiment says, read from YAML, checked key by key, written back as resolved."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from molflow.batch import FIELDS
from molflow.build import UserError, at, from_mapping, no_file, unknown
from molflow.objectives.distances import DISTANCES
from molflow.sampling import Sampling
from molflow.yamlfile import read_yaml, told_by_line

EPOCHS = 10.0  # of a run that is told no length
LENGTHS = ("epochs", "steps", "minutes")
_COMPONENTS = ("network", "times", "objective", "prior", "path", "loss", "sample")  # that have keys of their own below
Component = str | dict[str, Any]  # a name, or {name: ..., keyword: ...}


def name_of(spec: Component) -> str:
    return spec if isinstance(spec, str) else str(spec.get("name", ""))


def mapping_of(spec: Component) -> dict[str, Any]:
    return {"name": spec} if isinstance(spec, str) else dict(spec)


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


_WEIGHTS = {"pos": 1.0, "atom": 0.5, "charge": 0.5, "bond": 0.5}  # of the losses of fields


@dataclass(frozen=True)
class LossConfig:
    weights: dict[str, float] = field(default_factory=dict)  # where they differ, and of distances of near atoms
    hint: float = 0.5  # share of the steps that train with a previous prediction at hand

    def __post_init__(self):
        object.__setattr__(self, "weights", {**_WEIGHTS, **self.weights})
        allowed = "at least 0 and below 1: the other steps teach to predict without a hint, as each sample begins"
        _require("loss.hint", self.hint, 0 <= self.hint < 1, allowed)
        for name, weight in self.weights.items():
            if name not in (*FIELDS, DISTANCES):
                raise unknown("loss of loss.weights", name, (*FIELDS, DISTANCES))
            _require(f"loss.weights.{name}", weight, weight >= 0, "0 or more")


@dataclass(frozen=True)
class TrainConfig:
    epochs: float | None = None  # the length of a run: 10 epochs, unless one of these says another
    steps: int | None = None  # instead of epochs
    minutes: float | None = None  # of the clock, validation and sampling included; instead of both
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: orthogonal steps for matrices of layers, else adamw
    init: str | None = None  # a model whose weights the run begins with
    only: Sequence[str] = ()  # parts of the network that learn, as told or layers.0, the others staying; (): all
    teacher: str | None = None  # a model to learn from: labels, sizes and noise are then its
    lr: float = 5e-3
    warmup: float = 0.04  # share of the run
    decay: Literal["linear", "cosine"] = "linear"
    beta2: float = 0.99
    weight_decay: float = 0.01
    clip: float = 1.0  # norm of the gradient
    ema: float = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on devices that multiply it
    compile: Literal["none", "layers", "graphs"] = "none"  # layers: by torch.compile; graphs: recorded CUDA graphs
    device: str = "auto"
    devices: int = 1  # processes of data-parallel training
    validate: int = 10  # times a run
    samples: int = 100  # molecules sampled and scored at each validation
    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "csv"  # besides metrics.csv, which is always written

    def __post_init__(self):
        for name in ("epochs", "steps", "minutes", "lr", "clip"):
            value = getattr(self, name)
            _require(f"train.{name}", value, value is None or 0 < value < float("inf"), "above 0")
        for name in ("warmup", "beta2", "ema"):
            _require(f"train.{name}", getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name, least in (("weight_decay", 0), ("devices", 1), ("validate", 1), ("samples", 0)):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) >= least, f"at least {least}")
        if self.only and not self.init:
            raise UserError(
                f"train.only=[{', '.join(self.only)}] leaves the other parts as they begin, which is at random: name a "
                "model to begin with in train.init, or leave train.only out"
            )
        if self.compile == "graphs" and self.devices > 1:
            raise UserError(
                f"train.compile=graphs is for one device, and train.devices={self.devices}: take none or layers"
            )
        for name in ("steps", "epochs"):
            if self.minutes is not None and getattr(self, name) is not None:
                raise UserError(
                    f"train.minutes={self.minutes:g} and train.{name}={getattr(self, name):g}: a run has one length; "
                    f"drop train.{name} to train by the clock, or train.minutes (minutes: null) to count {name}"
                )


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
    objective: Component = "matching"
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: Sampling = field(default_factory=Sampling)

    def to_dict(self) -> dict[str, Any]:
        return _plain(asdict(self))


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """A YAML file with ``{"train.lr": 1e-3}``-style overrides, checked key by key."""
    path = Path(path)
    try:
        values = read_yaml(path)
    except OSError as error:
        shipped = ", ".join(sorted(str(p) for p in Path("configs").glob("*.yaml")))
        near = no_file(path) if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}"
        raise UserError(f"cannot read {near}" + (f"; there are {shipped}" if shipped else "")) from None
    overrides = overrides or {}
    for key, value in sorted(overrides.items(), key=lambda item: item[0].count(".")):  # a part before its keys
        _begin_with_default(values, key)
        set_key(values, key, value)
    train = values.get("train")
    if isinstance(train, dict):  # a length given beside the file replaces the file's
        given = {name for name in LENGTHS if f"train.{name}" in overrides and train.get(name) is not None}
        if {"steps", "epochs"} <= given:
            raise UserError(
                f"train.steps={train['steps']} and train.epochs={train['epochs']}: a run has one length; drop one"
            )
        for name in set(LENGTHS) - given if given else ():
            train.pop(name, None)
    with told_by_line(path, overrides):
        return parse_config(values, str(path))


def parse_config(values: Mapping[str, Any], where: str = "") -> Config:
    """A configuration from nested values; unknown keys and wrong types are errors that name the choices."""
    return from_mapping(Config, values, where)


def _begin_with_default(values: dict[str, Any], key: str) -> None:
    """Where a key within a component is set, and the file names no such component: the default one."""
    whole, default, place = key.split("."), Config().to_dict(), values
    for k, name in enumerate(whole[:-1]):
        if not isinstance(default, dict) or name not in default or not isinstance(place, dict):
            return
        default = default[name]
        if name not in place and (k > 0 or name in _COMPONENTS):
            place[name] = copy.deepcopy(default)
        place = place.get(name)


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """values["a"]["b"] = value for key ``a.b``; text is read as YAML (``1e-3``, ``[a, b]``, ``null``)."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        if isinstance(inner, list):
            raise UserError(f"{key}: {parent} is a list, which is given whole: {parent}='{inner}'")
        if isinstance(inner, str) and parents[-1] == parent:  # network.width=64 where the file says network: dense
            inner = {"name": inner}
        values[parent] = inner if isinstance(inner, dict) else {}
        values = values[parent]
    try:
        values[last] = yaml.safe_load(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):  # as a date that there is not
        raise UserError(f"{key}: {value!r} is no YAML value; quote it if it is a text") from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False)


def _require(key: str, value: Any, holds: bool, what: str) -> None:
    if not holds:
        with at(*key.split(".")[1:]):
            raise UserError(f"{key} must be {what}, not {value}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value  # of NumPy
