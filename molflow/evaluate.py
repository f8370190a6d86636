"""Molecules -> report: read once, judged by every protocol that applies, then measured on a random part.

report = score("samples.sdf", reference="qm9.safetensors")
report["edm"].molecule_stable.value
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from molflow.batch import Batch
from molflow.build import UserError, build, find, unknown
from molflow.chem.io import Files
from molflow.data.store import Store
from molflow.metrics import MEASUREMENTS, PROTOCOLS, TIERS
from molflow.metrics.conformers import THRESHOLDS
from molflow.metrics.keys import KeySet
from molflow.metrics.measurement import How, Measurement, Reference
from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import NO_REFERENCE
from molflow.metrics.report import Report
from molflow.metrics.rows import Spool
from molflow.metrics.shard import Block, Plan, Shard, protocol, score_block
from molflow.metrics.source import Source
from molflow.metrics.subset import Subset
from molflow.plugins import installed
from molflow.versions import versions
from molflow.workers import Failure, map_killable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Given = Files | Batch | Store | Iterable["Mol | None"] | Iterable[Batch]

DEFAULT = ("edm", "strict", "revisited", "jodo", "legacy")  # shown if they apply
SAMPLE = 2000  # molecules that the measurements of the fast tier look at
TOLD = 100  # molecules of a reference that tell it from another, where nothing is measured
TIMEOUT = 30.0  # seconds that a molecule may take in a process that can be killed


def score(
    molecules: Given,
    reference: Given | None = None,
    protocols: str | Sequence[str] | None = None,
    tier: str | Sequence[str] = "fast",
    *,
    subset: int = 500,
    conformers: Given | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    perceive: bool = False,
    seed: int = 0,
    workers: int = 0,
    timeout: float = TIMEOUT,
    rows: bool = True,
    progress: bool = False,
) -> Report:
    """Judge molecules: RDKit's (None is a failed one), batches, a data file, or files by name or pattern.

    ``reference`` holds training molecules, and held-out ones, for novelty and distributions. Without ``protocols``
    those that apply are shown. ``tier`` adds dearer measurements of ``subset`` random molecules: ``forcefield``,
    ``xtb``, ``posebusters``, ``fcd``; ``protocols`` leaves out even the cheap ones. ``conformers`` are reference
    conformers to cover, within ``thresholds`` angstrom. ``perceive`` finds bonds where there are none. ``workers``
    processes share the work; the report is the same with any number.

    >>> from rdkit import Chem
    >>> report = score([Chem.AddHs(Chem.MolFromSmiles("CO")), None])
    >>> report["strict"].valid
    Rate(50.0 %, 1 of 2)
    """
    protocols = [protocols] if isinstance(protocols, str) else protocols
    for name in protocols or ():
        find("protocol", PROTOCOLS, name)
    for option, value, least in (("workers", workers, 0), ("subset", subset, 1), ("timeout", timeout, 1e-3)):
        if value < least:
            raise UserError(f"{option} must be at least {least:g}, not {value}")
    if not timeout < float("inf"):
        raise UserError(f"timeout must be finite, not {timeout}")
    measurements = _measurements(tier)
    names = tuple(protocols or DEFAULT)
    how = How(workers, timeout, progress)

    read = partial(Source, opener=Store, perceive=perceive, workers=workers, timeout=timeout)
    covering = None
    if conformers is not None:
        covering = measurement_of("conformers", thresholds=list(thresholds)), read(_each_conformer(conformers))
        molecules = _each_conformer(molecules)
    source = read(molecules)
    known = None if reference is None else read(reference, split="train")
    # all that was given has been looked up by now: a mistake in it shall not wait for the scores
    plan = Plan(names, max(SAMPLE, subset) if measurements else 0, seed, rows, graphs=reference is not None)
    spool = Spool() if rows else None
    kept: list[Molecules] = []
    shard = _run(plan, source, how, "scoring", spool, None if covering is None else kept)

    training, drawn = ({}, None) if known is None else _read_reference(known, plan, shard, how)

    extra = {}
    if covering is not None:
        measurement, targets = covering
        theirs = Reference(train=Molecules.cat([block.molecules for block in targets.blocks()]))
        extra = {"conformers": measurement.figures(Molecules.cat(kept), theirs, how)}
    asked = tuple(protocols or ())
    libraries = [measurement.library for measurement in measurements if measurement.library]
    return Report(
        shard,
        seed,
        asked,
        training,
        source.described(),
        versions("numpy", "rdkit", "scipy", *libraries),
        Measure(measurements, subset, drawn, how),
        extra,
        spool,
        drawn.checksum if drawn else "",
        known.described() if known else (),
        (*(type(each).__name__ for each in measurements), subset * any(each.tier != "fast" for each in measurements)),
    )


def measurement_of(name: str, **keywords: Any) -> Measurement:
    """A measurement by its name; a UserError if the library it needs is not installed."""
    made = build("measurement", MEASUREMENTS, {"name": name, **keywords})
    made.require()
    return made


def _measurements(tier: str | Sequence[str]) -> list[Measurement]:
    tiers = [tier] if isinstance(tier, str) else list(tier)
    for name in tiers:
        if name not in TIERS and name not in installed("measurement"):
            raise unknown("tier", name, [*TIERS, *installed("measurement")])
    wanted = tiers if "protocols" in tiers else ["fast", *tiers]
    return [measurement_of(name) for entry in dict.fromkeys(wanted) for name in TIERS.get(entry, (entry,))]


def _run(
    plan: Plan, source: Source, how: How, what: str, spool: Spool | None = None, kept: list | None = None
) -> Shard:
    """Everything summed up; lines go to the spool, and molecules to ``kept``, if there is one."""
    from tqdm import tqdm

    def blocks() -> Iterator[Block]:
        for block in source.blocks():
            if kept is not None:
                kept.append(block.molecules)
            yield block

    total = Shard.empty(plan)
    bar = tqdm(total=source.total, desc=what, unit=" molecules", unit_scale=True, disable=not how.progress, leave=False)
    with bar:
        for shard, text in _judged(plan, blocks(), how):
            total += shard
            bar.update(shard.inventory.n)
            if spool is not None:
                spool.add(text)
    return total


def _judged(plan: Plan, blocks: Iterator[Block], how: How) -> Iterator[tuple[Shard, str]]:
    """Each block's scores in order. Where a molecule hangs or crashes a worker, the others of its block keep theirs."""
    if how.workers == 0:
        yield from (score_block(plan, block) for block in blocks)
        return
    waiting: dict[int, Block] = {}

    def sent() -> Iterator[Block]:
        for number, block in enumerate(blocks):
            waiting[number] = block
            yield block

    for number, result in map_killable(partial(score_block, plan), sent(), how.workers, timeout=how.timeout * 10):
        block = waiting.pop(number)
        yield score_block(plan, _without_culprits(plan, block, how)) if isinstance(result, Failure) else result


def _without_culprits(plan: Plan, block: Block, how: How) -> Block:
    """The block with those molecules unread that do not let themselves be scored alone."""
    molecules = block.molecules
    singles = (Block(molecules[[k]], 0, [("", 0)]) for k in range(len(molecules)))
    for k, result in map_killable(partial(score_block, plan), singles, how.workers, timeout=how.timeout):
        if isinstance(result, Failure):
            molecules = molecules.without([k], result.kind)
    return Block(molecules, block.start, block.places)


@dataclass(frozen=True)
class Drawn:
    """Molecules of a reference, in the order in which they were drawn, from twice as many of it as are scored."""

    train: Subset
    held_out: Subset | None  # if there are none, training molecules stand in

    @property
    def checksum(self) -> str:
        """Of which molecules they are."""
        parts = [self.train] if self.held_out is None else [self.train, self.held_out]
        told = (b"%d of %d " % (len(part.draws), part.of) + part.draws.tobytes() for part in parts)
        return hashlib.sha256(b"/".join(told)).hexdigest()

    def first(self, count: int) -> Reference:
        """As many as are scored."""
        train = self.train.molecules
        if self.held_out is not None:
            return Reference(train[:count], self.held_out.molecules[:count])
        half = min(count, len(train) // 2)
        return Reference(train[:half], train[half : 2 * half])


def _read_reference(source: Source, plan: Plan, shard: Shard, how: How) -> tuple[dict[str, KeySet | str], Drawn]:
    """The training molecules' identities that novelty is compared with, and molecules drawn from the reference.

    Each protocol reads the training molecules itself, but only those whose graph is that of one of ours.
    """
    protocols = tuple(name for name in shard.tallies if not protocol(name).inapplicable(shard.inventory))
    like = {kind: graphs.keys()[:, 0] for kind, graphs in shard.graphs.items()}
    kept = max(plan.sample, TOLD)
    train = _run(Plan(protocols, 2 * kept, plan.seed, like=like), source, how, "reading the reference")
    if not train.inventory.n:
        raise UserError(f"{source.molecules}: no training molecules in it")
    if not train.inventory.sizes:
        raise UserError(f"{source.molecules}: none of its {train.inventory.n:,} molecules can be read")
    keys: dict[str, KeySet | str] = dict.fromkeys(shard.tallies, "the protocol does not apply")
    for name, tally in train.tallies.items():
        why = protocol(name).inapplicable(train.inventory)
        keys[name] = f"the reference does not serve: {why}" if why else tally.seen
    held_out = None
    if source.files or isinstance(source.molecules, Store):
        rest = replace(source, split="held_out")
        held_out = _run(Plan((), kept, plan.seed), rest, how, "reading the reference")
    return keys, Drawn(train.sample, held_out.sample if held_out and held_out.inventory.n else None)


@dataclass(frozen=True)
class Measure:
    """The sections of a report, of what all its molecules add up to."""

    measurements: Sequence[Measurement]
    subset: int
    drawn: Drawn | None
    how: How

    def __call__(self, whole: Shard) -> dict[str, Any]:
        sections: dict[str, Any] = {}
        beside = self.drawn and self.drawn.first(len(whole.sample.draws))
        for measurement in self.measurements:
            part = whole.sample.first(SAMPLE if measurement.tier == "fast" else self.subset)
            figures = _figures(measurement, whole, part, beside, self.how)
            sections.setdefault(measurement.section, {}).update(figures)
        return sections


def _figures(
    measurement: Measurement, whole: Shard, part: Subset, reference: Reference | None, how: How
) -> dict[str, Any]:
    """A measurement's section, with what it was measured on, or why it was not."""
    why = measurement.inapplicable(whole.inventory)
    if not why and measurement.wants_reference and reference is None:
        why = NO_REFERENCE
    if why:
        figures: dict[str, Any] = {"not_applicable": why}
    else:
        failed = whole.inventory.n - part.of  # at the gate: they have no structure to measure
        subset = {"molecules": len(part.molecules), "of": part.of, "failed": failed, "seed": part.seed}
        how = replace(how, failed=part.failed(failed))
        figures = {"subset": subset, **measurement.figures(part.molecules, reference, how)}
    return {measurement.name: figures} if measurement.section == "energy" else figures


def _each_conformer(given: Any) -> Any:
    """RDKit molecules with several conformers as so many molecules; anything else as it is."""
    if isinstance(given, (str, os.PathLike, Batch, Store)):
        return given
    from rdkit.Chem import Mol

    out = []
    for mol in given:
        several = [Mol(mol, False, c.GetId()) for c in mol.GetConformers()] if isinstance(mol, Mol) else []
        out += several or [mol]
    return out
