"""molflow score"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from molflow.build import UserError


def score(
    files: Sequence[str] | None,
    *,
    protocol: Sequence[str] = (),
    reference: str | None = None,
    tier: Sequence[str] = ("fast",),
    subset: int = 500,
    conformers: str | None = None,
    threshold: Sequence[float] | None = None,
    perceive: bool = False,
    list_: bool = False,
    json: str | None = None,
    per_molecule: str | None = None,
    seed: int = 0,
    workers: int = 0,
    timeout: float = 30.0,
    overwrite: bool = False,
) -> None:
    """Judge molecules: stability, validity, connectivity, uniqueness and novelty, by named protocols.

    Reads SDF, mol, xyz, extended xyz, SMILES, CSV and npz (gzipped or not) and molflow's data files, by name or
    pattern, of any size. Every share is printed with its protocol and a 95 % interval; failed molecules stay in the
    denominator. `molflow score --list` and docs/scoring.md explain each protocol and measurement.

    Args:
        files: files of molecules, or patterns such as 'parts/*.sdf.gz'
        protocol: edm, edm_geom, strict, revisited, jodo, legacy; by default those that apply to the input
        reference: training molecules that novelty and distributions are measured against
        tier: what to measure besides the protocols: fast, forcefield, xtb, posebusters, fcd; protocols is nothing
        subset: molecules drawn at random for the tiers beyond fast
        conformers: reference conformers of the same molecules, for COV and MAT
        threshold: of --conformers: angstrom within which one counts as found (default: 0.5,0.75)
        perceive: find bonds by RDKit where the input has none
        list_: explain every protocol and measurement, and stop
        json: write all figures to this file
        per_molecule: write a row for each molecule and protocol to this .csv or .parquet file
        seed: of every random choice
        workers: processes that share the work; 0 is this one alone
        timeout: seconds that one molecule may take where its process can be killed
        overwrite: replace output files that exist

    Examples:
        molflow score samples.sdf --reference qm9.safetensors
        molflow score samples.xyz.gz --protocol edm --json report.json --per-molecule molecules.csv
        molflow score 'parts/*.sdf.gz' --workers 2 --tier forcefield
        molflow score conformers.sdf --conformers reference.sdf
        molflow score --list
    """
    if list_:
        from molflow.metrics.catalogue import catalogue

        print(catalogue())
        return
    if not files:
        raise UserError("name a file of molecules, or ask for --list (see `molflow score --help`)")
    if threshold is not None and conformers is None:
        raise UserError("--threshold is of --conformers: name the reference conformers too, or leave it out")
    from molflow.atomic import replacing
    from molflow.cli.outputs import check_outputs
    from molflow.evaluate import score as evaluate
    from molflow.metrics.conformers import THRESHOLDS
    from molflow.metrics.rows import suffix_of

    check_outputs({"--json": json, "--per-molecule": per_molecule}, [*files, reference, conformers], overwrite)
    if per_molecule is not None:
        suffix_of(per_molecule)
    report = evaluate(
        list(files),
        reference,
        list(protocol) or None,
        list(tier),
        subset=subset,
        conformers=conformers,
        thresholds=THRESHOLDS if threshold is None else threshold,
        perceive=perceive,
        seed=seed,
        workers=workers,
        timeout=timeout,
        rows=per_molecule is not None,
        progress=sys.stderr.isatty(),
    )
    if not report.n:
        raise UserError(f"no molecules in {', '.join(files)}: empty")
    print(report.table())
    if json is not None:
        import json as encoder

        with replacing(json) as part:
            part.write_text(encoder.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if per_molecule is not None:
        report.per_molecule(per_molecule, overwrite)
