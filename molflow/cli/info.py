"""``molflow info``: what is installed, and what a run, a model or a data set holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molflow.checkpoint import Card

Lines = Iterator[tuple[str, str]]


def info(target: str | None) -> None:
    """Show what is installed here, or what a run, a model or a data set holds.

    Without a target: versions, devices, models, plug-ins, and what each missing extra would add.

    Args:
        target: a run folder, the name of a shipped model, or a data file

    Examples:
        molflow info
        molflow info runs/a
        molflow info small
        molflow info qm9.safetensors
    """
    if target is None:
        from molflow.cli.about import about

        show(list(about()))
        return
    from molflow.checkpoint import CONFIG, WEIGHTS, locate, read_card

    path = Path(target)
    if path.is_file() and path.name not in (CONFIG, WEIGHTS):
        from molflow.cli.data import info as data_info

        data_info(target)
        return
    if (path / "metrics.csv").exists() and not (path / CONFIG).exists():
        lines = [("run", f"{path} (no model saved yet)"), *progress(path)]
    else:
        folder = locate(target)
        lines = [("model", str(folder)), *describe(read_card(folder), folder), *progress(folder)]
    show(lines)


def show(lines: Sequence[tuple[str, str]]) -> None:
    """A table of names and texts."""
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")


def describe(card: Card, folder: Path) -> Lines:
    """The network, the fields that flow, what the labels and sizes are, and where the model comes from."""
    from molflow.checkpoint import WEIGHTS, read_weights

    config, facts = card.config, card.facts
    parameters = sum(value.numel() for value in read_weights(folder).values())
    size = (folder / WEIGHTS).stat().st_size / 1e6
    yield "network", f"{_spell(config.network)}, {parameters:,} parameters ({size:.1f} MB)"
    for name in config.data.fields:
        yield name, f"prior {_spell(config.prior[name])}, path {_spell(config.path[name])}"
    yield "coupling", " then ".join(map(_spell, config.coupling)) or "independent"
    how = config.sample
    labels = (
        f", labels at temperature {how.temperature:g} and haste {how.haste:g}" if "atom" in config.data.fields else ""
    ) + "".join(f", {name} {value:g}" for name in ("composition", "valences") if (value := getattr(how, name)))
    precision = "" if how.precision == "fp32" else f", in {how.precision}"
    yield "sampling", f"{how.steps} steps of {_spell(how.solver)}, {how.grid} grid{labels}{precision}"
    if card.grids:
        yield "learned", f"grids of {', '.join(map(str, sorted(card.grids)))} steps"
    vocabulary = facts.vocabulary
    for name, labels in (("kinds", vocabulary.atoms), ("charges", vocabulary.charges), ("bonds", vocabulary.bonds)):
        if labels:
            yield name, " ".join(map(str, labels))
    sizes = facts.sizes.weights
    total = sum(sizes.values())
    yield "sizes", f"{min(sizes)} to {max(sizes)} atoms, mean {sum(n * w for n, w in sizes.items()) / total:.1f}"
    if facts.censuses:
        steps = ", ".join(map(str, sorted(card.leans)))
        leaning = f", leaning as learned of {steps} steps" if steps else ""
        yield "told", f"a census each, of the {len(facts.censuses.weights):,} of the training molecules{leaning}"
    yield "data", facts.checksum or "no checksum"
    legs = card.provenance.get("legs", [])
    for leg in legs:
        yield f"from {leg['start']:g}", f"{leg['model']}, times {_spell(leg['config']['times'])}"
    yield "made by", ", ".join(f"{name} {value}" for name, value in card.provenance.items() if name != "legs")


def progress(folder: Path) -> Lines:
    """The last known value of each column of a run's metrics.csv."""
    from molflow.run import Run

    last: dict[str, str] = {}
    for row in Run(folder).read_metrics():
        last |= {name: value for name, value in row.items() if value}
    yield from last.items()


def _spell(spec) -> str:
    if isinstance(spec, str):
        return spec
    keywords = ", ".join(f"{key}={_told(value)}" for key, value in spec.items() if key != "name")
    return f"{spec['name']}({keywords})" if keywords else spec["name"]


def _told(value) -> str:
    """A keyword's value; equal members of a list once, with their number."""
    if isinstance(value, list):
        alike = len(value) > 1 and all(entry == value[0] for entry in value)
        return f"[{len(value)} x {_told(value[0])}]" if alike else f"[{', '.join(map(_told, value))}]"
    return _spell(value) if isinstance(value, dict) else str(value)
