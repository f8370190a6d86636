"""What a model keeps of its training data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from molflow.agreement import noise_of, tells
from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.config import Config, name_of
from molflow.data.censuses import Censuses
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.data.wanted import Wanted


@dataclass(frozen=True)
class Facts:
    """What a model keeps of its training data, so that sampling needs the data no more."""

    vocabulary: Vocabulary
    sizes: Sizes
    scale: float  # standard deviation of a centred coordinate
    dim: int
    checksum: str = ""
    law: tuple[float, float] | None = None  # (a, b) of that deviation in molecules of N atoms, a N^b
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)  # of each label's classes
    formulas: Formulas = field(default_factory=Formulas)
    censuses: Censuses = field(default_factory=Censuses)  # of a model that is told them

    @classmethod
    def of(cls, store: Store, config: Config, known: Vocabulary | None = None) -> Facts:
        """Read from a store's training molecules, or from the model that made them, where they say one.

        Labels that are ``known`` have the classes that they have there, and new ones come after them.
        """
        fields = config.data.fields
        missing = [name for name in fields if name not in store.fields and name != "charge"]
        if missing:
            raise UserError(
                f"{store.path} carries {', '.join(store.fields)}, not {', '.join(missing)}; "
                "set data.fields to what it has"
            )
        if "facts" in store.meta:  # samples, whose noise is told by the facts that it was drawn with
            _check_noise(store, config)
            facts = cls.from_dict(json.loads(store.meta["facts"]))
            wanted = Wanted(
                facts.sizes, facts.formulas, facts.censuses or census_table(config, facts.vocabulary, store)
            )
            wanted = wanted.asked(json.loads(store.meta.get("atoms", "null")), facts.vocabulary.kinds)
            return replace(facts, **vars(wanted), checksum=store.checksum)
        if not len(store.indices("train")):
            raise UserError(f"{store.path} holds no training molecules; import with --split train, or more of them")
        if config.data.centred and "atom" not in fields and store.sizes[store.indices("train")].max() == 1:
            raise UserError(f"{store.path} holds lone points, which data.centred=true takes to the origin: say false")
        vocabulary = Vocabulary()
        if "atom" in fields:
            bonds = store.bond_orders if "bond" in fields else ()
            vocabulary = Vocabulary.of(store.kinds(), bonds, separate_charge="charge" in fields)
            if "bond" in fields and not bonds:
                raise UserError(f"no two atoms of {store.path} are bonded: set data.fields=[pos,atom]")
        if known is not None and known.classes.keys() == vocabulary.classes.keys():
            vocabulary = known.joined(vocabulary)
        sizes, law, shares = Sizes.of_store(store), store.scale_law(), class_shares(vocabulary, store)
        formulas = Formulas.of_store(store) if "atom" in fields else Formulas()
        censuses = census_table(config, vocabulary, store)
        return cls(vocabulary, sizes, store.scale(), store.dim, store.checksum, law, shares, formulas, censuses)

    def to_dict(self) -> dict[str, Any]:
        labels = {name: list(getattr(self.vocabulary, name)) for name in ("atoms", "charges", "bonds")}
        sizes = {str(n): w for n, w in self.sizes.weights.items()}
        learnt = {
            "law": self.law and list(self.law),
            "shares": {name: list(part) for name, part in self.shares.items()},
            "formulas": dict(self.formulas.weights),
            "censuses": dict(self.censuses.weights),
        }
        return {
            "vocabulary": labels,
            "sizes": sizes,
            "scale": self.scale,
            "dim": self.dim,
            "checksum": self.checksum,
            **{name: value for name, value in learnt.items() if value},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Facts:
        vocabulary = Vocabulary(**{name: tuple(entries) for name, entries in values["vocabulary"].items()})
        sizes = Sizes({int(n): w for n, w in values["sizes"].items()})
        law = tuple(values["law"]) if "law" in values else None  # older models lack it, shares and formulas
        censuses = Censuses(values["censuses"], len(vocabulary.atoms)) if "censuses" in values else Censuses()
        shares, formulas = values.get("shares", {}), Formulas(values.get("formulas", {}))
        checksum = values.get("checksum", "")
        return cls(vocabulary, sizes, values["scale"], values["dim"], checksum, law, shares, formulas, censuses)


def census_table(config: Config, vocabulary: Vocabulary, store: Store) -> Censuses:
    """Of the training molecules, where the network is told them."""
    asked = tells(config.network) and "atom" in config.data.fields
    return Censuses.of_store(store, vocabulary) if asked else Censuses()


def class_shares(vocabulary: Vocabulary, store: Store) -> dict[str, list[float]]:
    """How common each class of each label is in the training set: among atoms, and among pairs of atoms, most of which
    have no bond."""
    training = store.indices("train")
    kinds, bonds = store.label_counts(training)
    counts: dict[str, dict[Any, float]] = {"atom": {}, "charge": {}, "bond": dict(bonds)}
    for (number, charge), atoms in kinds.items():
        kind = (number, 0 if vocabulary.charges else charge)
        counts["atom"][kind] = counts["atom"].get(kind, 0) + atoms
        counts["charge"][charge] = counts["charge"].get(charge, 0) + atoms
    sizes = store.sizes[training].astype(np.int64)
    counts["bond"][0] = int((sizes * (sizes - 1) // 2).sum()) - sum(bonds.values())
    classes = {"atom": vocabulary.kinds, "charge": vocabulary.charges, "bond": vocabulary.bonds}
    found = {name: [counts[name].get(label, 0) for label in labels] for name, labels in classes.items()}
    return {name: [count / sum(part) for count in part] for name, part in found.items() if sum(part)}


def _check_noise(store: Store, config: Config) -> None:
    """Samples of a model are read as what it makes, and paired with its own noise."""
    made, now = json.loads(store.meta.get("noise", "{}")), noise_of(config)
    paired = any(name_of(spec) == "reflow" for spec in config.coupling)
    for key in made if paired else made.keys() & {"data.fields"}:
        if made[key] != now[key]:
            raise UserError(f"{store.path} holds samples of a model with {key}={made[key]}; say so, not {now[key]}")
