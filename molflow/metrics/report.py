"""The score of a set of molecules: figures by name, as a dictionary for machines and a table for people."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from molflow.metrics.keys import KeySet
from molflow.metrics.measurement import plain
from molflow.metrics.protocol import NO_REFERENCE, Protocol
from molflow.metrics.rate import Rate
from molflow.metrics.rows import Spool
from molflow.metrics.shard import Shard, protocol

_JUDGES = ("strict", "edm", "revisited", "jodo", "legacy")


def _nothing(shard: Shard) -> dict[str, Any]:
    return {}


class Scored:
    """What one protocol found: its rates as attributes, ``report["edm"].molecule_stable.value``."""

    def __init__(self, rates: Mapping[str, Rate], failures: Mapping[str, int], inapplicable: str = ""):
        self.rates, self.failures, self.inapplicable = dict(rates), dict(failures), inapplicable

    def __getattr__(self, name: str) -> Rate:
        if name.startswith("_") or name not in self.__dict__.get("rates", {}):
            raise AttributeError(f"no rate {name!r}; there are {', '.join(self.__dict__.get('rates', {}))}")
        return self.rates[name]

    def __repr__(self) -> str:
        if self.inapplicable:
            return f"Scored(not applicable: {self.inapplicable})"
        return f"Scored({', '.join(f'{name}={rate}' for name, rate in self.rates.items())})"


@dataclass(frozen=True)
class Report:
    """Everything a score found. ``a + b`` is the report of both inputs together, uniqueness and novelty included."""

    shard: Shard
    seed: int
    asked: Collection[str]  # protocols to show even where they do not apply
    training: Mapping[str, KeySet | str] = field(default_factory=dict)  # by protocol: keys, or why there are none
    inputs: tuple[dict[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Shard], dict[str, Any]] = _nothing  # sections measured on the sample
    extra: Mapping[str, Any] = field(default_factory=dict)  # sections that do not add up
    spool: Spool | None = None
    reference: str = ""  # tells one from another
    compared: tuple[dict[str, Any], ...] = ()  # what it was read from
    measured: tuple[Any, ...] = ()  # the measurements by name, and how many molecules those that are slow take
    sections: dict[str, Any] = field(init=False)  # descriptors, distributions, energy, ...

    def __post_init__(self):
        object.__setattr__(self, "sections", {**self.measure(self.shard), **self.extra})

    def __repr__(self) -> str:
        shares = {
            name: scored.rates["valid"].value for name, scored in self.protocols.items() if "valid" in scored.rates
        }
        valid = ", ".join(f"{name} {100 * share:.1f}" for name, share in shares.items() if share is not None)
        return f"Report({self.n:,} molecules, % valid: {valid or 'not measured'}; table() tells all)"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.table())}</pre>"

    @property
    def n(self) -> int:
        """Molecules in the input, failed ones included."""
        return self.shard.inventory.n

    @property
    def protocols(self) -> dict[str, Scored]:
        """What each protocol found; of those that do not apply only the asked ones, or all if none applies."""
        found = {name: self._scored(name, protocol(name)) for name in self.shard.tallies}
        shown = {name: scored for name, scored in found.items() if name in self.asked or not scored.inapplicable}
        return shown or found

    def _scored(self, name: str, judge: Protocol) -> Scored:
        why = judge.inapplicable(self.shard.inventory)
        if why:
            return Scored({}, {}, why)
        tally = self.shard.tallies[name]
        rates = judge.rates(tally, self.training.get(name, NO_REFERENCE))
        return Scored(rates, dict(tally.failures.most_common()))

    @property
    def judge(self) -> str:
        """The protocol to ask of a single molecule, where none is named: the strictest that applies."""
        judged = self._judged()
        return next((name for name in _JUDGES if name in judged), "edm")

    def __iter__(self) -> Iterator[str]:
        return iter(self.protocols)

    def __getitem__(self, name: str) -> Scored:
        found = self.protocols
        if name not in found:
            raise KeyError(f"no protocol {name!r} in this report; there are {', '.join(found) or 'none'}")
        return found[name]

    @property
    def warnings(self) -> list[str]:
        chosen = [
            f"{entry['file']} holds what was picked of {entry['picked of']:,} molecules: its shares say "
            "nothing of what made them"
            for entry in self.inputs
            if "picked of" in entry
        ]
        return self.shard.inventory.warnings() + chosen

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, as ``--json`` writes them."""
        protocols, failures = {}, {}
        for name, scored in self.protocols.items():
            if scored.inapplicable:
                protocols[name] = {"not_applicable": scored.inapplicable}
            else:
                protocols[name] = {metric: rate.to_dict() for metric, rate in scored.rates.items()}
                failures[name] = scored.failures
        sections = {"distributions": {}, "energy": {}} | plain(self.sections)
        return {
            "n": self.n,
            "protocols": protocols,
            "failures": failures,
            **sections,
            "warnings": self.warnings,
            "versions": dict(self.versions),
            "seed": self.seed,
            "input": list(self.inputs),
            **({"reference": list(self.compared)} if self.compared else {}),
        }

    def table(self) -> str:
        """A table that fits a terminal."""
        from molflow.metrics.table import table

        return table(self)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What each protocol that applies says of each molecule, by ``molflow.metrics.rows.COLUMNS``."""
        return self._spooled().rows(self._judged())

    def per_molecule(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """The rows, written to a ``.csv`` or ``.parquet`` file."""
        self._spooled().write(path, self._judged(), overwrite)

    def _judged(self) -> dict[str, KeySet | str]:
        judged = [name for name, scored in self.protocols.items() if not scored.inapplicable]
        return {name: self.training.get(name, NO_REFERENCE) for name in judged}

    def _spooled(self) -> Spool:
        if self.spool is None:
            raise ValueError(
                "the rows were not kept, or stayed where this report was copied from: score(..., rows=True) keeps them"
            )
        return self.spool

    def _terms(self) -> tuple:
        read = sorted(self.training), self.reference
        return self.seed, self.measured, self.shard.sample.size, list(self.shard.tallies), *read

    def __getstate__(self) -> dict[str, Any]:
        """All but the rows, which stay on this machine."""
        return {**vars(self), "spool": None}

    def __radd__(self, other: int) -> Report:
        """``sum(reports)`` begins with 0."""
        return self if other == 0 else NotImplemented

    def __add__(self, other: Report) -> Report:
        if self._terms() != other._terms():
            raise ValueError("reports add up where seed, protocols, tier, subset and reference are the same")
        training = {name: _both(keys, other.training[name]) for name, keys in self.training.items()}
        sums: dict[str, Any] = {"shard": self.shard + other.shard, "inputs": self.inputs + other.inputs}
        return replace(self, training=training, extra={}, spool=None, **sums)


def _both(keys: KeySet | str, others: KeySet | str) -> KeySet | str:
    """Of the training molecules each report has read those that could be like its own."""
    whys = [each for each in (keys, others) if isinstance(each, str)]
    return min(whys) if whys else keys | others  # type: ignore[operator]
