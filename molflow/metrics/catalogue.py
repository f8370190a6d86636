"""Every protocol and measurement explained in a few lines: what ``molflow score --list`` prints."""

from __future__ import annotations

from textwrap import wrap

from molflow.build import find, names
from molflow.metrics import MEASUREMENTS, PROTOCOLS


def catalogue(width: int = 80) -> str:
    """Name, meaning, needs, denominators, source and known defect of each."""
    lines = ["Protocols: a verdict on every molecule. --protocol NAME", ""]
    for name in names("protocol", PROTOCOLS):
        made = find("protocol", PROTOCOLS, name)()
        shares: dict[str, list[str]] = {}
        for rate, of in made.denominators().items():
            shares.setdefault(of, []).append(rate)
        lines += _entry(name, made.summary, width)
        lines += _field("needs", ", ".join(made.needs), width)
        for of, rates in shares.items():
            lines += _field("of", f"{of}: {', '.join(rates)}", width)
        lines += _field("source", made.source, width) + _field("defect", made.defect, width) + [""]
    lines += ["Measurements: figures of a random part of the molecules. --tier NAME", ""]
    for name in names("measurement", MEASUREMENTS):
        made = find("measurement", MEASUREMENTS, name)()
        flag = "--conformers FILE" if made.tier == "conformers" else f"--tier {made.tier}"
        lines += _entry(f"{name} ({flag})", made.summary, width)
        lines += _field("needs", ", ".join(made.needs) + (", a reference" if made.wants_reference else ""), width)
        lines += _field("of", made.denominator, width) + _field("source", made.source, width) + [""]
    return "\n".join(lines).rstrip()


def _entry(name: str, text: str, width: int) -> list[str]:
    return [name, *wrap(text, width, initial_indent="  ", subsequent_indent="  ")]


def _field(name: str, text: str, width: int) -> list[str]:
    return wrap(f"{name:<7} {text}", width, initial_indent="    ", subsequent_indent=" " * 12)
