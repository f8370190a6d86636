"""A configuration -> the objects of the method, built by name from the families' dicts."""

from __future__ import annotations

import inspect
from typing import Any

from molflow.agreement import fields_of, of_field
from molflow.build import UserError, at, build, find, resolve
from molflow.config import Component, Config, mapping_of, name_of
from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain, Coupling
from molflow.facts import Facts
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


def make_model(config: Config, facts: Facts) -> Model:
    """The network (weights as initialised), its path and its prior."""
    fields = fields_of(config)
    classes = facts.vocabulary.classes
    priors, paths, widths = [], {}, {}
    for name in fields:
        prior_spec, path_spec = of_field(config.prior, "prior", name), of_field(config.path, "path", name)
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
    coupling = make_coupling(config, model)
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


def make_coupling(config: Config, model: Model) -> Chain:
    """What pairs noise with molecules, one after another."""
    return Chain([_coupling(k, spec, model.prior) for k, spec in enumerate(config.coupling)])


def _coupling(k: int, spec: Component, prior: Product) -> Coupling:
    with at("coupling", k):
        return build("coupling", COUPLINGS, spec, prior=prior)


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
