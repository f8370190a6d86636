"""molflow compare"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def compare(
    files: Sequence[str],
    *,
    reference: str | None = None,
    protocol: Sequence[str] = ("edm", "strict"),
    tier: Sequence[str] = ("fast",),
    subset: int = 500,
    perceive: bool = False,
    json: str | None = None,
    seed: int = 0,
    workers: int = 0,
    timeout: float = 30.0,
    overwrite: bool = False,
) -> None:
    """Score files of molecules side by side: what each has more than the first, and whether chance would do that.

    Each file, or each pattern, is a set of its own. Differences of shares are printed with their 95 % intervals, with
    a star where these leave out 0. Compare sets of equally many molecules: of more, fewer are unique.

    Args:
        files: two files or more, or patterns such as 'parts/*.sdf.gz'; the first is what the others are held against
        reference: training molecules that novelty and distributions are measured against
        protocol: edm, edm_geom, strict, revisited, jodo, legacy
        tier: what to measure besides the protocols: fast, forcefield, xtb, posebusters, fcd; protocols is nothing
        subset: molecules drawn at random for the tiers beyond fast
        perceive: find bonds by RDKit where the input has none
        json: write all reports and the differences to this file
        seed: of every random choice
        workers: processes that share the work; 0 is this one alone
        timeout: seconds that one molecule may take where its process can be killed
        overwrite: replace the output file if it exists

    Examples:
        molflow compare mine.sdf theirs.sdf --reference qm9.safetensors
        molflow compare before.sdf after.sdf later.sdf --tier forcefield --json differences.json
    """
    from molflow.atomic import finite, write_json
    from molflow.build import UserError
    from molflow.cli.outputs import check_outputs
    from molflow.comparing import compare as compared

    check_outputs({"--json": json}, [*files, reference], overwrite)
    if len({*files}) < len(files):
        raise UserError(f"a file is named twice: {', '.join(files)}")
    found = compared(
        dict(zip(files, files)),
        reference,
        list(protocol),
        list(tier),
        subset=subset,
        perceive=perceive,
        seed=seed,
        workers=workers,
        timeout=timeout,
        rows=False,
        progress=sys.stderr.isatty(),
    )
    print(found.table())
    if json is not None:
        write_json(json, finite(found.to_dict()))
