"""A model as two files, model.safetensors and config.json: loaded without lightning, pickle or the training data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from molflow import __version__
from molflow.atomic import clear_errors, replacing, write_atomically, write_json
from molflow.build import UserError, no_file, unknown
from molflow.config import Config, parse_config
from molflow.device import pick_device
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.generate import Model
from molflow.sampling import Sampling

FORMAT, VERSION = "molflow-model", 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Card:
    """What a saved model says of itself."""

    config: Config
    facts: Facts
    grids: Mapping[int, Sequence[float]]  # learned time grids, by their number of steps
    provenance: Mapping[str, Any]  # versions, steps, data: whatever its training wrote down
    leans: Mapping[int, Sequence[float]] = field(default_factory=dict)  # learned, of its censuses, by steps


def save(
    folder: str | Path,
    weights: Mapping[str, Tensor],
    config: Config,
    facts: Facts,
    provenance: Mapping[str, Any],
    grids: Mapping[int, Sequence[float]] | None = None,
    leans: Mapping[int, Sequence[float]] | None = None,
) -> None:
    """Write a model into a folder; each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "format": FORMAT,
        "version": VERSION,
        "molflow": __version__,
        "config": config.to_dict(),
        **facts.to_dict(),
        **({"grids": _by_steps(grids)} if grids else {}),
        **({"leans": _by_steps(leans)} if leans else {}),
        "provenance": dict(provenance),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(folder / WEIGHTS, to_bytes(tensors, {"format": FORMAT}))
    write_json(folder / CONFIG, card)


def load(source: str | Path, device: str = "auto") -> Model:
    """A model ready to sample: a shipped one by name, a run folder, or the path of its weights.

    ``device`` is auto, cpu, cuda or mps.
    """
    folder = locate(source)
    card = read_card(folder)
    with _Unfilled():
        model = make_model(card.config, card.facts)
    model.grids.update(card.grids)
    model.leans.update(card.leans)
    try:
        model.network.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise UserError(
            f"{folder / WEIGHTS} does not fit the network that {CONFIG} describes: {_last_line(error)}"
        ) from None
    return model.to(pick_device(device))


class _Unfilled(TorchFunctionMode):
    """Within it weights are not drawn, as those of a file take their place: for a large network that takes longer."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a model's folder, in single precision."""
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{folder} has {CONFIG} but no {WEIGHTS}; copy both files of the model") from None
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or cut short ({error}); fetch it again, or save it again from the run"
        ) from None
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def _last_line(error: Exception) -> str:
    return shorten(str(error).splitlines()[-1], width=200, placeholder=" ...")  # it may name hundreds of weights


def read_card(source: str | Path) -> Card:
    """The description beside a model's weights."""
    path = locate(source) / CONFIG
    try:
        values = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a molflow model")
    if values.get("version") != VERSION:
        raise UserError(
            f"{path} is of model format {values.get('version')}, this molflow reads {VERSION}; "
            f"it was written by molflow {values.get('molflow')}: install that version, or train again"
        )
    try:
        facts = Facts.from_dict(values)
        config, grids = parse_config(values["config"], str(path)), parse_grids(values.get("grids", {}))
        leans = {int(steps): facts.censuses.leaning(lean).lean for steps, lean in values.get("leans", {}).items()}
        return Card(config, facts, grids, values.get("provenance", {}), leans)
    except UserError as error:
        hint = ". Is a package that brought it not installed here?" * ("unknown " in str(error))
        raise UserError(f"{error if str(path) in str(error) else f'{path}: {error}'}{hint}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error} is missing or wrong); fetch the model again") from None


def parse_grids(values: Mapping[str, Sequence[float]]) -> dict[int, list[float]]:
    """{"2": [0, 0.6, 1]} as the grids that it says."""
    try:
        grids = {int(steps): [float(t) for t in times] for steps, times in values.items()}
    except ValueError:
        raise TypeError("a number of a learned grid") from None
    for steps, times in grids.items():
        climbs = all(t < s for t, s in pairwise(times))
        if len(times) != steps + 1 or (times[0], times[-1]) != (0, 1) or not climbs:
            raise TypeError(f"the learned grid of {steps} steps")
    return grids


def keep_sampling(source: str | Path, how: Sampling, grids: Mapping[int, Sequence[float]]) -> Path:
    """Keep a way of sampling and learned grids beside a model's weights, over those of as many steps."""
    merged = {**read_card(source).grids, **grids}
    with rewriting(source) as card:
        card["config"]["sample"] = asdict(how)
        card["grids"] = _by_steps(merged)
    return locate(source) / CONFIG


def keep_leans(source: str | Path, leans: Mapping[int, Sequence[float]]) -> None:
    """Keep beside a model's weights how the censuses that it is told lean, over those of as many steps."""
    merged = {**read_card(source).leans, **leans}
    with rewriting(source) as card:
        card["leans"] = _by_steps(merged)


def _by_steps(learned: Mapping[int, Sequence[float]]) -> dict[str, list[float]]:
    return {str(steps): list(learned[steps]) for steps in sorted(learned)}


def copied(source: Path, folder: Path) -> Path:
    """A folder that holds the model of another."""
    if folder != source:
        with clear_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CONFIG):
            with replacing(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
    return folder


@contextmanager
def rewriting(source: str | Path) -> Iterator[dict[str, Any]]:
    """What is in a model's card, written to it anew when the block ends well."""
    path = locate(source) / CONFIG
    card = json.loads(path.read_text())
    yield card
    write_json(path, card)


def locate(source: str | Path) -> Path:
    """The folder that holds a model's files."""
    path = Path(source)
    if not str(source):
        raise UserError("no model was named")
    if path.is_dir():
        if (path / CONFIG).exists():
            return path
        raise UserError(f"{path} holds no {CONFIG}: it is no model folder, or its training has not saved one yet")
    if path.is_file():
        if path.name not in (WEIGHTS, CONFIG) or not (path.parent / CONFIG).exists():
            raise UserError(f"{path} is no model: that is a folder with {WEIGHTS} and {CONFIG}, or one of these two")
        return path.parent
    shipped = pretrained()
    if str(source) in shipped:
        return shipped[str(source)]
    if path.suffix[1:].isalpha():  # a file's, not that of a version
        raise no_file(path)
    raise UserError(f"{unknown('model', str(source), shipped)}, or give a run folder")


def pretrained() -> dict[str, Path]:
    """The models that ship with the package, by name."""
    root = Path(str(resources.files("molflow"))) / "pretrained"
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{CONFIG}"))}


def half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they ship: 16 bits each."""
    return {name: value.to(torch.float16) if value.is_floating_point() else value for name, value in weights.items()}
