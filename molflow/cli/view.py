"""molflow view"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def view(
    target: Sequence[str],
    *,
    reference: str | None = None,
    out: str | None = None,
    open_: bool = False,
    max_: int = 500,
    seed: int = 0,
    tier: Sequence[str] = ("fast",),
    strain: bool = True,
    perceive: bool = False,
    samples: int = 64,
    workers: int = 0,
    overwrite: bool = False,
) -> None:
    """Make one HTML page of molecules or of a training run: it works offline, from a mail or a cluster.

    Molecules: a map by any two figures linked to a 3D viewer, the score with intervals, distributions against the
    reference, failures by reason, SMILES to copy. A run: training curves, quality, and the way from noise to molecules.

    Args:
        target: files of molecules, or patterns such as 'parts/*.sdf.gz'; or one run folder
        reference: training molecules for novelty, similarity and distributions
        out: the page (default: report.html for molecules, run.html for a run)
        open_: show it in the browser
        max_: molecules on the page, drawn at random where there are more; the score is of all
        seed: of every random choice
        tier: what the score measures: fast, forcefield, xtb, posebusters, fcd; protocols is nothing
        strain: relax the molecules on the page by MMFF94s, for their strain
        perceive: find bonds by RDKit where the input has none
        samples: of a run: molecules generated for each point of quality against evaluations; 0 is none
        workers: processes that share the work; 0 is this one alone
        overwrite: replace the page if it exists

    Examples:
        molflow view molecules.sdf --reference qm9.safetensors --open
        molflow view 'parts/*.sdf.gz' --out report.html --max 1000
        molflow view runs/a --out run.html
    """
    import webbrowser
    from pathlib import Path

    from molflow.atomic import refuse_existing
    from molflow.viewer import is_run, page

    path = Path(out or ("run.html" if is_run(target) else "report.html"))
    refuse_existing(path, overwrite)
    options = {"reference": reference, "seed": seed, "limit": max_, "tier": tier, "strain": strain}
    options |= {"perceive": perceive, "samples": samples, "workers": workers, "progress": sys.stderr.isatty()}
    page(list(target), **options).write(path, overwrite)
    print(f"{path} written ({path.stat().st_size / 1e6:.1f} MB): it needs no network")
    if open_ and not webbrowser.open(path.absolute().as_uri()):
        print("no browser could be started here; copy the file to where there is one")
