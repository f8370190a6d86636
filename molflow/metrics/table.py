"""A report as text for a terminal of 80 columns."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from molflow.metrics.rate import Rate
from molflow.metrics.shard import protocol

if TYPE_CHECKING:
    from molflow.metrics.report import Report, Scored

_HEADS = {
    "atom_stable": "atoms",
    "molecule_stable": "mols",
    "valid": "valid",
    "connected": "connect",
    "unique": "unique",
    "valid_unique": "val-uniq",
    "novel": "novel",
    "complete": "complete",
}


def table(report: Report) -> str:
    """All sections, in the order of the dictionary."""
    lines = [f"{report.n:,} molecules{_source(report)}, seed {report.seed}", ""]
    found = report.protocols
    shown = {name: scored for name, scored in found.items() if not scored.inapplicable}
    if shown:
        lines += [*_rates(shown), ""]
    lines += [f"{name}: not applicable: {scored.inapplicable}" for name, scored in found.items() if scored.inapplicable]
    for name, scored in shown.items():
        if scored.failures:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in scored.failures.items())
            lines += _wrapped(f"{name}, not perfect: ", reasons)
    lines += [f"warning: {text}" for text in report.warnings]
    return "\n".join(lines).rstrip()


def _source(report: Report) -> str:
    names = [str(entry.get("file", "")) for entry in report.inputs if entry.get("file")]
    if not names:
        return ""
    return f" in {names[0]}" if len(names) == 1 else f" in {len(names)} files"


def _rates(shown: dict[str, Scored]) -> list[str]:
    """A row of percentages and one of half the interval's width for each protocol."""
    heads = [name for name in _HEADS if any(name in scored.rates for scored in shown.values())]
    wide = max(9, *map(len, shown)) + 1
    lines = ["%".ljust(wide) + "".join(f"{_HEADS[name]:>9}" for name in heads)]
    for name, scored in shown.items():
        rates = [scored.rates.get(head) for head in heads]
        lines.append(name.ljust(wide) + "".join(f"{_percent(rate):>9}" for rate in rates))
        lines.append("  95 %".ljust(wide) + "".join(f"{_spread(rate):>9}" for rate in rates))
    lines.append("")
    for name in shown:
        judge = protocol(name)
        lines += _wrapped(f"{name}: ", judge.summary)
    return lines


def _percent(rate: Rate | None) -> str:
    if rate is None or rate.value is None:
        return "-"
    return f"{100 * rate.value:.2f}"


def _spread(rate: Rate | None) -> str:
    if rate is None or rate.ci95 is None:
        return ""
    low, high = rate.ci95
    return f"±{50 * (high - low):.2f}"


def _wrapped(head: str, text: str, width: int = 80) -> list[str]:
    return wrap(head + text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
