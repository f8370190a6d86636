"""molflow pick"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def pick(
    files: Sequence[str],
    *,
    out: str,
    keep: Sequence[str] = ("valid", "connected", "unique"),
    reference: str | None = None,
    atoms: str | None = None,
    n: int | None = None,
    protocol: str | None = None,
    perceive: bool = False,
    workers: int = 0,
    timeout: float = 30.0,
    overwrite: bool = False,
) -> None:
    """Keep the molecules of a file that are wanted: valid, unlike those before, new, of a formula.

    Verdicts are those of molflow score; the molecules stay as their file has them, and where it has no bonds those
    that RDKit finds are added. A note beside the output tells what was kept of how many: of molecules that were
    picked, shares say nothing of the model that made them, and molflow score says so.

    Args:
        files: files of molecules, or patterns such as 'parts/*.sdf.gz'
        out: .sdf, .xyz, .extxyz, .smi or .npz; all but npz also with .gz
        keep: valid, stable, connected, unique (the first of its kind), novel (not in --reference)
        reference: training molecules that novel ones are not among
        atoms: sizes wanted, such as 12, 9-29 or 9,12,15-17, or a formula such as C7H10O2
        n: no more than so many, the first
        protocol: whose verdicts: edm, edm_geom, strict, revisited, jodo, legacy (default: strict, or edm without bonds)
        perceive: judge by bonds that RDKit finds where the input has none
        workers: processes that share the work; 0 is this one alone
        timeout: seconds that one molecule may take where its process can be killed
        overwrite: replace files that exist

    Examples:
        molflow pick samples.sdf --out good.sdf
        molflow pick samples.sdf --n 100 --atoms C7H10O2 --out isomers.sdf
        molflow pick 'parts/*.sdf.gz' --keep valid,unique,novel --reference qm9.safetensors --out new.smi
    """
    from molflow.atomic import refuse_existing
    from molflow.build import UserError
    from molflow.chem.io import WRITABLE, expand, format_of, open_writer, verbatim
    from molflow.chem.note import note_of, read_note, write_note
    from molflow.cli.outputs import check_outputs
    from molflow.picking import bonded, records
    from molflow.picking import pick as picked
    from molflow.versions import versions

    suffix = format_of(out, WRITABLE)
    sources = expand(list(files))
    flat = [str(file) for file in sources if format_of(file) in (".smi", ".smiles", ".csv", ".tsv")]
    if flat and suffix != ".smi":
        raise UserError(f"{flat[0]} holds SMILES, which have no coordinates to write to {out}: name it .smi")
    check_outputs({"--out": out}, [*files, reference], overwrite)
    refuse_existing(note_of(out), overwrite)
    found = picked(
        sources,
        list(keep),
        reference,
        atoms=atoms,
        n=n,
        protocol=protocol,
        perceive=perceive,
        workers=workers,
        timeout=timeout,
        progress=sys.stderr.isatty(),
    )
    width = max(map(len, found.left))
    for name, count in found.left.items():
        print(f"  {name:<{width}}  {count:>9,}")
    if found.bondless:
        share = f"{found.bondless:,} of {found.left['read']:,}"
        advice = "--perceive finds some, --protocol edm needs none"
        print(f"note: {share} have no bonds, which protocol {found.protocol} asks for: {advice}", file=sys.stderr)
    if not found.indices:
        raise UserError(f"no molecule is left by protocol {found.protocol}: `molflow score` tells why they fail")
    unsaid = 0
    with open_writer(out, overwrite) as file:
        for record in records(sources, found.indices):
            if text := verbatim(record, suffix):
                file.write_text(text)
                continue
            mol = bonded(record, suffix)
            unsaid += mol is None
            try:
                file.write([mol])
            except UserError as error:
                raise UserError(f"{record}: {error}") from None
    if unsaid:
        print(f"note: of {unsaid:,} RDKit finds no bonds, which SMILES need: they are '?' in {out}", file=sys.stderr)
    made_of = [
        {"file": each["file"], "checksum": each["checksum"], "note": read_note(each["file"], each["checksum"])}
        for each in found.inputs
    ]
    write_note(
        out,
        {
            "picked from": made_of,
            "protocol": found.protocol,
            "left": found.left,
            "versions": versions("numpy", "rdkit"),
        },
    )
    print(f"{out} written: {len(found):,} molecules of {found.left['read']:,}, by protocol {found.protocol}")
