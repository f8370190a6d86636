"""A configuration -> the objects of the method, built by name from the families' dicts."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from molflow.batch import FIELDS
from molflow.build import UserError, at, build, find, resolve, unknown
from molflow.chem.vocabulary import Vocabulary
from molflow.config import Component, Config, mapping_of, name_of
from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain, Coupling
from molflow.data.censuses import Censuses
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.data.wanted import Wanted
from molflow.generate import Model
from molflow.networks import NETWORKS
from molflow.objectives import OBJECTIVES
from molflow.objectives.distances import DISTANCES
from molflow.objectives.objective import Objective
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
    law: tuple[float, float] | None = None  # (a, b) of that deviation in molecules of N atoms, a N^b
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)  # of each label's classes
    formulas: Formulas = field(default_factory=Formulas)
    censuses: Censuses = field(default_factory=Censuses)  # of a model that is told them

    @classmethod
    def of(cls, store: Store, config: Config, known: Vocabulary | None = None) -> Facts:
        """Read from a store's training molecules, or from the model that made them, where they say one.

        Labels that are all ``known`` have the classes that they have there.
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
        vocabulary = Vocabulary()
        if "atom" in fields:
            bonds = store.bond_orders if "bond" in fields else ()
            vocabulary = Vocabulary.of(store.kinds(), bonds, separate_charge="charge" in fields)
        if known is not None and known.classes.keys() == vocabulary.classes.keys() and not vocabulary.beyond(known):
            vocabulary = known
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


def tells(network: Component) -> bool:
    """Whether a network is told what molecules have."""
    spec = mapping_of(network)
    return bool(spec.get("census")) or any(tells(runner) for runner in spec.get("runners", ()))


def census_table(config: Config, vocabulary: Vocabulary, store: Store) -> Censuses:
    """Of the training molecules, where the network is told them."""
    asked = tells(config.network) and "atom" in config.data.fields
    return Censuses.of_store(store, vocabulary) if asked else Censuses()


def noise_of(config: Config) -> dict[str, Any]:
    """What decides a model's noise besides the facts: pairs of noise and sample are pairs under the same alone."""
    priors = {name: mapping_of(_of_field(config.prior, "prior", name)) for name in _fields(config)}
    return {"data.fields": _fields(config), "data.centred": config.data.centred, "prior": priors}


def ways_of(config: Config) -> dict[str, Any]:
    """What decides where a model's states lie: its noise and its paths, whatever their errors weigh."""
    paths = {name: mapping_of(_of_field(config.path, "path", name)) for name in _fields(config)}
    return noise_of(config) | {
        "path": {name: {k: v for k, v in spec.items() if k not in ("weigh", "cap")} for name, spec in paths.items()}
    }


def predicted(config: Config) -> str:
    """What the network's positions mean."""
    return getattr(build("path", PATHS, _of_field(config.path, "path", "pos")), "predicts", "endpoint")


def _check_noise(store: Store, config: Config) -> None:
    """Samples of a model are read as what it makes, and paired with its own noise."""
    made, now = json.loads(store.meta.get("noise", "{}")), noise_of(config)
    paired = any(name_of(spec) == "reflow" for spec in config.coupling)
    for key in made if paired else made.keys() & {"data.fields"}:
        if made[key] != now[key]:
            raise UserError(f"{store.path} holds samples of a model with {key}={made[key]}; say so, not {now[key]}")


def class_shares(vocabulary: Vocabulary, store: Store) -> dict[str, list[float]]:
    """How common each class of each label is: among atoms, and among pairs of atoms, most of which have no bond."""
    counts: dict[str, dict[Any, float]] = {"atom": {}, "charge": {}, "bond": dict(store.bond_counts)}
    for (number, charge), atoms in store.kind_counts.items():
        kind = (number, 0 if vocabulary.charges else charge)
        counts["atom"][kind] = counts["atom"].get(kind, 0) + atoms
        counts["charge"][charge] = counts["charge"].get(charge, 0) + atoms
    sizes = store.sizes.astype(np.int64)
    counts["bond"][0] = int((sizes * (sizes - 1) // 2).sum()) - sum(store.bond_counts.values())
    classes = {"atom": vocabulary.kinds, "charge": vocabulary.charges, "bond": vocabulary.bonds}
    found = {name: [counts[name].get(label, 0) for label in labels] for name, labels in classes.items()}
    return {name: [count / sum(part) for count in part] for name, part in found.items() if sum(part)}


def make_model(config: Config, facts: Facts) -> Model:
    """The network (weights as initialised), its path and its prior."""
    fields = _fields(config)
    classes = facts.vocabulary.classes
    priors, paths, widths = [], {}, {}
    for name in fields:
        prior_spec, path_spec = _of_field(config.prior, "prior", name), _of_field(config.path, "path", name)
        spec = _with_facts(prior_spec, name, facts)
        if name == "pos":
            with at("prior", name):
                prior = build("prior", PRIORS, spec, field=name, channels=facts.dim, centred=config.data.centred)
            with at("path", name):
                paths[name] = build("path", PATHS, path_spec)
        else:
            with at("prior", name):
                prior = build("prior", PRIORS, spec, field=name, channels=classes[name])
            states = prior.states(classes[name])
            with at("path", name):
                paths[name] = build("path", PATHS, path_spec, states=states)
            widths[name] = (states, classes[name])
        _check_fit(name, prior_spec, prior, path_spec, paths[name])
        if prior.reads:
            raise UserError(
                f"prior.{name}: {name_of(prior_spec)!r} as given reads {min(prior.reads)}, and when a model samples "
                "there is none yet. Use gaussian, sized, or harmonic with graph: chain"
            )
        priors.append(prior)
    try:
        with at("network"):
            network = build("network", NETWORKS, config.network, fields=widths, dim=facts.dim)
    except (RuntimeError, ArithmeticError) as error:  # torch's word for a width below one
        raise UserError(f"network {config.network}: it cannot be built ({error})") from error
    if not config.data.centred and "translation" in network.symmetries:
        all_of_them: Any = {name: resolve(target) for name, target in NETWORKS.items()}
        placed = ", ".join(name for name, each in all_of_them.items() if "translation" not in each.symmetries)
        raise UserError(
            f"data.centred=false: clouds then have a place, and network {name_of(config.network)} cannot tell one "
            f"from another; take {placed}, or data.centred=true"
        )
    return Model(
        network,
        Joint(paths),
        Product(priors),
        facts.vocabulary,
        facts.sizes,
        dim=facts.dim,
        defaults=config.sample,
        formulas=facts.formulas,
        censuses=facts.censuses,
        hinted=config.loss.hint > 0,
        paired=any(name_of(spec) != "independent" for spec in config.coupling),
    )


def make_objective(config: Config, model: Model, teacher: Model | None = None) -> Objective:
    """What training minimises; some objectives learn from a teacher."""
    if config.train.teacher and name_of(config.objective) == "matching":
        raise UserError(
            "objective 'matching' has no use for a teacher (train.teacher, molflow distill): take objective=distill, "
            "as configs/distill.yaml does, or train.init to begin with its weights"
        )
    weights = {name: config.loss.weights.get(name, 1.0) for name in model.path.paths}
    if near := config.loss.weights.get(DISTANCES):
        weights[DISTANCES] = near
    coupling = Chain([_coupling(k, spec, model.prior) for k, spec in enumerate(config.coupling)])
    if coupling.turns and not (config.data.centred and "rotation" in model.network.symmetries):
        why = "clouds that are not centred" if not config.data.centred else f"network {name_of(config.network)}"
        raise UserError(
            f"coupling align turns the noise onto the data, and {why} would learn that turn: give it rotate: false"
        )
    with at("times"):
        times = build("times", TIMES, config.times)
    with at("objective"):
        objective = build(
            "objective",
            OBJECTIVES,
            config.objective,
            prior=model.prior,
            coupling=coupling,
            path=model.path,
            times=times,
            weights=weights,
            hint=config.loss.hint,
            centred=config.data.centred,
            census=model.vocabulary.classes if model.network.census else None,
            sample=config.sample,
            teacher=teacher,
        )
    if objective.leaps and not model.network.spans:
        raise UserError(f"objective {name_of(config.objective)!r} teaches leaps: give the network span: true")
    return objective


def _coupling(k: int, spec: Component, prior: Product) -> Coupling:
    with at("coupling", k):
        return build("coupling", COUPLINGS, spec, prior=prior)


def _fields(config: Config) -> list[str]:
    fields = list(config.data.fields)
    if "pos" not in fields:
        raise UserError("data.fields must hold pos: every molecule has coordinates")
    for name, why in (("bond", "bonds join atoms"), ("charge", "charges are those of atoms")):
        if name in fields and "atom" not in fields:
            raise UserError(f"data.fields holds {name} but not atom: {why}")
    return [name for name in FIELDS if name in fields]


def _of_field(specs: Mapping[str, Component], what: str, name: str) -> Component:
    for key in specs:
        if key not in FIELDS:
            raise unknown(f"field of {what}", key, FIELDS)
    if name not in specs:
        raise UserError(f"{what}: nothing is said of {name}; give {what}.{name} a name")
    return specs[name]


def _with_facts(spec: Component, field: str, facts: Facts) -> Component:
    """A prior's specification with what the data say of its keywords, where the user says nothing."""
    known = {"scale": facts.scale, "law": facts.law} if field == "pos" else {"shares": facts.shares.get(field)}
    try:
        prior: Any = find("prior", PRIORS, name_of(spec))
    except UserError:
        return spec  # build will say so, and where
    if field not in prior.fields:
        serves: Any = {name: resolve(target) for name, target in PRIORS.items()}
        fitting = ", ".join(sorted(name for name, each in serves.items() if field in each.fields))
        raise UserError(f"prior.{field}: {name_of(spec)!r} is no noise of {field}, which takes {fitting}")
    taken = inspect.signature(prior).parameters
    return {key: value for key, value in known.items() if key in taken and value is not None} | mapping_of(spec)


def _check_fit(field: str, prior_spec: Component, prior: Prior, path_spec: Component, path: Path) -> None:
    """Labels want a path of labels, and a path wants the prior's kind of state."""
    if field != "pos" and not hasattr(path, "states"):
        raise UserError(f"path.{field}: {name_of(path_spec)!r} is a path of coordinates; labels take jump or one_hot")
    if prior.discrete != path.discrete:
        choices = {name: resolve(target) for name, target in PRIORS.items()}
        fitting = [name for name, c in choices.items() if c.discrete == path.discrete and field in c.fields]  # type: ignore
        path_name, prior_name = name_of(path_spec), name_of(prior_spec)
        raise UserError(f"prior.{field}: path {path_name!r} starts from {' or '.join(fitting)}, not {prior_name!r}")
