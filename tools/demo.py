"""The end of `make demo`: a picture of the first molecules, and the score as a page to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rdkit import Chem, rdBase

from molflow.chem.draw import grid


def main(folder: Path) -> None:
    silence = rdBase.BlockLogs()  # what RDKit cannot read is counted in the score
    with Chem.ForwardSDMolSupplier(str(folder / "molecules.sdf"), removeHs=False) as reader:
        readable = [mol for mol in reader if mol is not None]
    del silence
    grid(readable[:15], folder / "molecules.png")

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    lines = ["# Molecules from the shipped model `qm9`", "", "![molecules](molecules.png)", ""]
    lines += ["| protocol | metric | share | count | of |", "|---|---|---|---|---|"]
    for protocol, metrics in report["protocols"].items():
        for name, figure in metrics.items():
            if figure["value"] is not None:
                share = f"{100 * figure['value']:.1f} %"
                lines.append(f"| {protocol} | {name} | {share} | {figure['count']} | {figure['of']} |")
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

    print("\nwritten:")
    for name, what in {
        "molecules.sdf": f"{report['n']} molecules, coordinates in angstrom",
        "molecules.png": "a picture of the first",
        "report.json": "the score, for programs",
        "report.md": "the score, for people",
    }.items():
        print(f"  {folder / name}: {what}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
