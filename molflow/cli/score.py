"""molflow score"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def score(
    files: Sequence[str],
    *,
    protocol: Sequence[str] = (),
    reference: str | None = None,
    json: str | None = None,
    per_molecule: str | None = None,
    seed: int = 0,
    workers: int = 0,
    overwrite: bool = False,
) -> None:
    """Judge molecules by the field's protocols: stability, validity, connectivity, uniqueness, novelty.

    Reads SDF, mol, xyz, extended xyz, SMILES, CSV and npz (gzipped or not) and molflow's data files, by name or
    pattern, of any size. Every share is printed with its protocol and a 95 % interval; failed molecules stay in the
    denominator. docs/scoring.md explains each protocol.

    Args:
        files: files of molecules, or patterns such as 'parts/*.sdf.gz'
        protocol: edm, edm_geom, strict; by default those that apply to the input
        reference: training molecules (a data file) that novelty is measured against
        json: write all figures to this file
        per_molecule: write a row for each molecule and protocol to this .csv or .parquet file
        seed: of every random choice
        workers: processes that share the work; 0 is this one alone
        overwrite: replace output files that exist

    Examples:
        molflow score samples.sdf --reference qm9.safetensors
        molflow score samples.xyz.gz --protocol edm --json report.json --per-molecule molecules.csv
        molflow score 'parts/*.sdf.gz' --workers 2
    """
    from molflow.evaluate import score as evaluate
    from molflow.metrics.files import check_free, replacing
    from molflow.metrics.rows import suffix_of

    for path in (json, per_molecule):
        if path is not None:
            check_free(path, overwrite)
    if per_molecule is not None:
        suffix_of(per_molecule)
    report = evaluate(
        list(files),
        reference,
        list(protocol) or None,
        seed=seed,
        workers=workers,
        rows=per_molecule is not None,
        progress=sys.stderr.isatty(),
    )
    print(report.table())
    if json is not None:
        import json as encoder

        with replacing(json) as part:
            part.write_text(encoder.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if per_molecule is not None:
        report.per_molecule(per_molecule, overwrite)
