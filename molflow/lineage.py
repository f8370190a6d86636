"""What a run takes from other models: the weights that it begins with, the labels, a teacher."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from molflow.agreement import predicted, ways_of
from molflow.build import UserError
from molflow.checkpoint import load, locate, read_card, read_weights
from molflow.chem.vocabulary import Vocabulary
from molflow.config import Config
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.generate import Model
from molflow.networks.network import Network

FRESH = ("clock.span.", "told.")  # what a network begins with that has never leapt, or was never told a census


def begin_from(source: str | Path, network: Network, facts: Facts, config: Config) -> None:
    """Give a network the weights of a model of the same shape, whose outputs mean the same; it may know more labels."""
    folder = locate(source)
    card = read_card(folder)
    theirs, ours = card.facts.vocabulary, facts.vocabulary
    if theirs.classes.keys() != ours.classes.keys():
        fields = [", ".join(["pos", *labels.classes]) for labels in (theirs, ours)]
        raise UserError(f"train.init: {source} makes {fields[0]}, and this run {fields[1]}: see data.fields")
    if predicted(card.config) != predicted(config):
        raise UserError(
            f"train.init: {source} predicts the {predicted(card.config)}, and this run would read it as the "
            f"{predicted(config)}: give it path.pos.predicts={predicted(card.config)}"
        )
    weights, trained = read_weights(folder), card.config
    try:
        if theirs != ours:
            weights = _grown(weights, network, make_model(trained, card.facts).network, theirs, ours, source)
        begun = {name: value for name, value in network.state_dict().items() if _is_fresh(name)}
        network.load_state_dict(begun | weights)
    except RuntimeError:
        needs, has = (
            {"data.fields": list(c.data.fields), "network": c.network, "prior": c.prior} for c in (trained, config)
        )
        unlike = [name for name in needs if needs[name] != has[name]] or ["data.fields", "network"]
        asked = " ".join(f"'{name}={json.dumps(needs[name])}'" for name in unlike)
        raise UserError(
            f"train.init: the weights of {source} do not fit this network; give the run that model's: {asked}"
        ) from None


def _is_fresh(name: str) -> bool:
    """Whether a weight is of a part that a network may begin without, its own or that of a runner."""
    return re.sub(r"^runners\.\d+\.", "", name).startswith(FRESH)


def _grown(
    weights: Mapping[str, Tensor],
    network: Network,
    fewer: Network,
    theirs: Vocabulary,
    ours: Vocabulary,
    source: str | Path,
) -> dict[str, Tensor]:
    """The weights of a model for a network that knows more labels, what it is told left out: it is told of more."""
    if theirs.joined(ours) != ours:
        lacks = f"knows no {', '.join(new)}, and " if (new := ours.beyond(theirs)) else ""
        raise UserError(f"train.init: {source} {lacks}has its labels in another order: begin with another model")
    kept = {name: value for name, value in weights.items() if "told" not in name.split(".")}
    try:
        if type(network) is not type(fewer):
            raise UserError(f"network {type(network).__name__.lower()!r} is another")
        return network.grown(kept, fewer)
    except UserError as error:
        raise UserError(
            f"train.init: {source} knows no {', '.join(ours.beyond(theirs))}, which the data hold, and "
            f"{error}; leave out such molecules (molflow data import --elements), or train from nothing"
        ) from None


def labels_of(source: str | Path) -> Vocabulary | None:
    """Those of a model that a run begins from, if it is still there."""
    try:
        return read_card(source).facts.vocabulary
    except UserError:  # a run that goes on has its weights elsewhere; one that begins will say what is wrong
        return None


def taught_by(config: Config, facts: Facts) -> tuple[Model, Facts]:
    """The teacher that a configuration names, and its facts, which its student keeps: the noise is the teacher's."""
    source = config.train.teacher or ""
    card = read_card(source)
    unlike = [key for key, value in ways_of(card.config).items() if value != ways_of(config)[key]]
    if unlike:
        raise UserError(
            f"train.teacher: {source} was trained with other {', '.join(unlike)}: give the student the same"
        )
    if card.facts.dim != facts.dim:
        raise UserError(f"train.teacher: {source} knows {card.facts.dim} dimensions, and the data have {facts.dim}")
    if missing := facts.vocabulary.beyond(card.facts.vocabulary):
        raise UserError(f"train.teacher: {source} knows no {', '.join(missing)}, which the data hold")
    return load(source, device="cpu"), replace(card.facts, censuses=card.facts.censuses or facts.censuses)
