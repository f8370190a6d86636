"""Where molecules and runs come from, as far as their files say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from molflow.chem.note import note_of
from molflow.metrics.report import Report
from molflow.viewer.document import text

# of a note or report beside the file
_TOLD = [
    "model",
    "weights",
    "seed",
    "steps",
    "solver",
    "grid",
    "temperature",
    "haste",
    "composition",
    "valences",
    "precision",
    "atoms",
    "device",
    "date",
]


def of_report(given: Any, report: Report, reference: Any, limit: int) -> str:
    facts: dict[str, Any] = {}
    for number, entry in enumerate(report.inputs, 1):
        told = {**entry, **beside(entry)}
        facts |= told if len(report.inputs) == 1 else {f"{key}, {number}": value for key, value in told.items()}
    if isinstance(reference, (str, os.PathLike)):
        facts["reference"] = os.fspath(reference)
    facts |= {"seed of the score": report.seed, "molecules on the page": f"at most {limit}"}
    facts |= {f"version of {name}": value for name, value in report.versions.items()}
    facts["page made"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return listed(facts)


def beside(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file of the same name tells of a file's making, if it means that file: their checksums agree."""
    if "file" not in entry:
        return {}
    path = Path(entry["file"])
    for sibling in (note_of(path), path.with_suffix(".json"), path.with_name("report.json")):
        try:
            told = json.loads(sibling.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(told, dict):
            continue
        inputs = told.get("input", [])
        sums = [told.get("checksum"), *(i.get("checksum") for i in inputs if isinstance(i, dict))]
        if entry.get("checksum") in sums:
            of_score = bool(inputs)  # then its seed is the score's
            keys = [key for key in _TOLD if not (of_score and key == "seed")]
            facts = {key: _said(told[key]) for key in keys if isinstance(told.get(key), (str, int, float, dict))}
            versions = told.get("versions", {})
            facts |= {f"{name}, then": str(v) for name, v in versions.items()} if isinstance(versions, dict) else {}
            return facts | {"told by": sibling.name}
    return {}


def _said(value: Any) -> Any:
    """A value as it is, a component with keywords as the command line has it."""
    return json.dumps(value).replace('"', "") if isinstance(value, dict) else value


def listed(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'
