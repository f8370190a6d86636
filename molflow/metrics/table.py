"""A report as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from molflow.metrics.mean import Mean
from molflow.metrics.protocol import NO_REFERENCE
from molflow.metrics.rate import Rate
from molflow.metrics.shard import protocol

if TYPE_CHECKING:
    from molflow.metrics.report import Report, Scored

_HEADS = {
    "atom_stable": "atoms",
    "molecule_stable": "mols",
    "valid": "valid",
    "connected": "conn",
    "unique": "uniq",
    "valid_unique": "v&u",
    "novel": "novel",
    "complete": "whole",
}


_LEGEND = (
    "Shares of all molecules with their 95 % intervals, failed ones too; but atoms: of all atoms, uniq: of the valid, "
    "novel: of the unique. v&u: valid and unique. jodo divides by all; whole: valid, one piece."
)


def table(report: Report) -> str:
    """Every section in turn."""
    lines = [*_wrapped("", f"{report.n:,} molecules{_source(report)}, seed {report.seed}"), ""]
    found = report.protocols
    if any("bonds" in entry for entry in report.inputs):
        lines[-1:] = ["bonds perceived by RDKit where the input has none: this scores the perception too", ""]
    shown = {name: scored for name, scored in found.items() if not scored.inapplicable}
    if shown:
        lines += [*_rates(shown), ""]
    unfit = {name: f"not applicable: {scored.inapplicable}" for name, scored in found.items() if name not in shown}
    lines += _grouped(unfit)
    lines += _grouped({name: _faults(scored) for name, scored in shown.items()})
    for name, section in report.sections.items():
        if "not_applicable" not in section:
            lines += ["", *_section(name, section)]
        elif section["not_applicable"] != NO_REFERENCE:
            lines += ["", *_wrapped(f"{name}: not applicable: ", section["not_applicable"])]
    lines += [line for text in report.warnings for line in _wrapped("warning: ", text)]
    return "\n".join(lines).rstrip()


def _faults(scored: Scored) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in scored.failures.items())
    return f"faults: {reasons}" if reasons else ""


def _grouped(texts: dict[str, str]) -> list[str]:
    """A line for each text, after all the names that share it."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    return [line for text, who in names.items() if text for line in _wrapped(f"{', '.join(who)}: ", text)]


def _source(report: Report) -> str:
    names = [Path(entry["file"]).name for entry in report.inputs if entry.get("file")]
    if not names:
        return ""
    return f" in {names[0]}" if len(names) == 1 else f" in {len(names)} files"


def _rates(shown: dict[str, Scored]) -> list[str]:
    """A row of percentages for each protocol and two of the ends of their intervals, then what they mean."""
    heads = [name for name in _HEADS if any(name in scored.rates for scored in shown.values())]
    wide = max(9, *map(len, shown)) + 1
    lines = ["%".ljust(wide) + "".join(f"{_HEADS[name]:>8}" for name in heads)]
    for name, scored in shown.items():
        rates = [scored.rates.get(head) for head in heads]
        lines.append(name.ljust(wide) + "".join(f"{_percent(rate):>8}" for rate in rates))
        for end, word in enumerate(("  from", "  to")):
            lines.append((word.ljust(wide) + "".join(f"{_end(rate, end):>8}" for rate in rates)).rstrip())
    lines.append("")
    lines += _wrapped("", _LEGEND)
    for name in shown:
        lines += _wrapped(f"{name}: ", protocol(name).summary)
    return lines


def _section(name: str, section: Mapping[str, Any]) -> list[str]:
    """A title, and a line for each figure."""
    subset = section.get("subset")
    title = f"{name}, of {subset['molecules']:,} of {subset['of']:,} molecules" if subset else name
    if subset and subset["failed"]:
        title += f"; {subset['failed']:,} more failed before"
    lines = [title]
    for key, value in section.items():
        if key == "subset":
            continue
        if isinstance(value, Mapping) and name == "energy":
            lines += [f"  {line}" for line in _section(key, value)]
        elif key == "training":
            continue
        else:
            lines += _figure(key, value, section.get("training", {}).get(key))
    return lines


def _figure(key: str, value: Any, training: Any = None) -> list[str]:
    if isinstance(value, Mean):
        measured = "" if value.measured == value.of else f"  ({value.measured:,} of {value.of:,} measured)"
        beside = f"  training {_number(training.mean)}" if isinstance(training, Mean) else ""
        lines = [f"  {key:<16} mean {_number(value.mean)}  median {_number(value.median)}{beside}{measured}"]
        why = ", ".join(f"{reason} {count:,}" for reason, count in value.unmeasured.items())
        return lines + [f"  {line}" for line in _wrapped(f"{'':<16} not measured: ", why, 78) if why]
    if isinstance(value, Rate):
        return [f"  {key:<16} {_percent(value)} %  ({value.count:,} of {value.of:,})"]
    if isinstance(value, Mapping) and "distance" in value:
        lines = [f"  {key:<16} {_number(value['distance'])}  floor {_number(value.get('floor'))}  {value['unit']}"]
        if value.get("missing"):
            lines[0] += f"  ({len(value['missing'])} types missing)"
        return lines
    if isinstance(value, Mapping) and "mean" in value:
        return [f"  {key:<16} mean {_number(value['mean'])}  over {value['types']} types, {value['count']:,} in all"]
    if isinstance(value, Mapping):
        parts = [f"{name} {_short(entry)}" for name, entry in value.items()]
        return [f"  {line}" for line in _wrapped(f"{key:<16} ", ", ".join(parts) or "none", 78)]
    return [f"  {key:<16} {_number(value) if isinstance(value, float) else value}"]


def _short(value: Any) -> str:
    if isinstance(value, Rate):
        return f"{_percent(value)} %"
    return _number(value.mean) if isinstance(value, Mean) else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(rate: Rate | None) -> str:
    return "-" if rate is None or rate.value is None or not rate.of else f"{100 * rate.value:.2f}"


def _end(rate: Rate | None, end: int) -> str:
    return "" if rate is None or rate.ci95 is None or not rate.of else f"{100 * rate.ci95[end]:.2f}"


def _wrapped(head: str, text: str, width: int = 80) -> list[str]:
    return wrap(head + text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
