"""Models of the same ways -> one model, each of them for a stretch of the time (networks/relay.py), and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molflow.agreement import predicted, tells, ways_of
from molflow.build import UserError
from molflow.checkpoint import Card, load, read_card, save
from molflow.config import Config, mapping_of, parse_config
from molflow.data.censuses import Censuses
from molflow.facts import Facts
from molflow.networks.relay import Relay
from molflow.run import made_with
from molflow.solvers.schedule import LEARNED


def join(sources: Sequence[str | Path], at: Sequence[float], out: str | Path) -> Path:
    """Write into ``out`` the model whose way ``sources`` go in turn, handing over at the times ``at``.

    Sampling is the first one's. What each was trained with stays in the card's provenance.
    """
    if len(sources) < 2 or len(at) != len(sources) - 1:
        raise UserError(
            f"{len(sources)} models hand over {max(0, len(sources) - 1)} times, and --at tells {len(at)}: "
            "give two models or more, and a time between 0 and 1 for each but the first"
        )
    if not all(0 < a < b <= 1 for a, b in pairwise([*at, 1.0])):
        raise UserError(f"--at {','.join(f'{t:g}' for t in at)}: times rise, above 0 and below 1")
    cards = [read_card(source) for source in sources]
    first = cards[0]
    for source, card in zip(sources[1:], cards[1:]):
        _check_alike(sources[0], first, source, card)
    starts = [0.0, *at]
    network: dict[str, Any] = {"name": "relay", "runners": [card.config.network for card in cards], "starts": starts}
    config = _on_a_grid(replace(first.config, network=network))
    weights: dict[str, Tensor] = {}
    for k, source in enumerate(sources):
        runner = load(source, device="cpu").network
        weights |= {f"runners.{k}.{name}": value for name, value in runner.state_dict().items()}
    legs = [
        {"model": Path(source).name, "start": start, "config": card.config.to_dict(), **card.provenance}
        for source, start, card in zip(sources, starts, cards)
    ]
    told = next((card.facts.censuses for card in cards if card.facts.censuses), first.facts.censuses)
    save(out, weights, config, replace(first.facts, censuses=told), {**made_with(), "legs": legs})
    return Path(out)


def part(source: str | Path, t: float, out: str | Path) -> Path:
    """Write into ``out`` the network that the relay ``source`` asks at the time ``t``, as a model: to train on from.

    Its card is what it was joined with, or the relay's own where its networks were trained together.
    """
    card, network = read_card(source), load(source, device="cpu").network
    if not isinstance(network, Relay):
        raise UserError(f"{source} is one network: --part takes one out of a relay of several")
    if not 0 <= t <= 1:
        raise UserError(f"--part {t:g}: times go from 0, noise, to 1, molecules")
    k = int(network.leg(torch.tensor(t, dtype=torch.float64)))
    config, provenance = replace(card.config, network=network.specs[k]), card.provenance
    if legs := provenance.get("legs"):
        config = parse_config(legs[k]["config"])
        provenance = {key: value for key, value in legs[k].items() if key not in ("model", "start", "config")}
    facts = card.facts if tells(config.network) else replace(card.facts, censuses=Censuses())
    save(out, network.runners[k].state_dict(), _on_a_grid(config), facts, provenance)
    return Path(out)


def _on_a_grid(config: Config) -> Config:
    """Learned times go with the weights that they were learned for: quadratic ones in their place."""
    return replace(config, sample=replace(config.sample, grid="quadratic")) if config.sample.grid == LEARNED else config


def _check_alike(one: str | Path, mine: Card, other: str | Path, theirs: Card) -> None:
    """Where one stops the other goes on: they know the same data, and their states at a time have the same law."""
    if _known(mine.facts) != _known(theirs.facts):
        raise UserError(f"{other} was trained on other data than {one}, or knows other labels, sizes or noise of them")
    ours, found = _terms(mine.config), _terms(theirs.config)
    unlike = [key for key in ours if ours[key] != found[key]]
    if unlike:
        told = "; ".join(f"{key} is {found[key]}, not {ours[key]}" for key in unlike)
        raise UserError(f"{other} does not go the way of {one}: {told}")


def _known(facts: Facts) -> Facts:
    """What all legs know alike: censuses are not told to every one, and another machine rounds widths otherwise."""
    law = facts.law and (round(facts.law[0], 9), round(facts.law[1], 9))
    return replace(facts, censuses=Censuses(), law=law, scale=round(facts.scale, 9))


def _terms(config: Config) -> dict[str, Any]:
    """What decides the law of a model's states at each time, and how its network is asked."""
    return ways_of(config) | {
        "coupling": [mapping_of(spec) for spec in config.coupling],
        "path.pos.predicts": predicted(config),
        "hints": config.loss.hint > 0,
    }
