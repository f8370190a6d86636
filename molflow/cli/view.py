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
    max_: int | None = None,
    seed: int = 0,
    tier: Sequence[str] | None = None,
    strain: bool | None = None,
    perceive: bool | None = None,
    samples: int | None = None,
    workers: int | None = None,
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
        max_: molecules on the page, drawn at random where there are more; the score is of all (default: 500)
        seed: of every random choice
        tier: what the score measures: fast, forcefield, xtb, posebusters, fcd; protocols is nothing (default: fast)
        strain: relax the molecules on the page by MMFF94s, for their strain (default: on)
        perceive: find bonds by RDKit where the input has none
        samples: of a run: molecules generated for each point of quality against evaluations; 0 is none (default: 64)
        workers: processes that share the work; 0 is this one alone (default: 0)
        overwrite: replace the page if it exists

    Examples:
        molflow view molecules.sdf --reference qm9.safetensors --open
        molflow view 'parts/*.sdf.gz' --out report.html --max 1000
        molflow view runs/a --out run.html
    """
    import webbrowser
    from pathlib import Path

    from molflow.build import UserError
    from molflow.cli.outputs import check_outputs, check_suffix
    from molflow.viewer import is_run, page

    given = {"reference": reference, "limit": max_, "tier": tier, "strain": strain, "perceive": perceive}
    given |= {"samples": samples, "workers": workers}
    options = {name: value for name, value in given.items() if value is not None}
    run = is_run(target)
    if run and options.keys() - {"samples"}:
        others = ", ".join("--max" if name == "limit" else f"--{name}" for name in options if name != "samples")
        raise UserError(f"{target[0]} is a folder: its page takes --seed and --samples, not {others}")
    if not run and samples is not None:
        raise UserError(f"--samples is of a run's page; {', '.join(target)} is no run folder")
    path = Path(out or ("run.html" if run else "report.html"))
    check_outputs({"--out": path}, [] if run else [*target, reference], overwrite)
    check_suffix(path, ".html", "a page")
    page(list(target), seed=seed, progress=sys.stderr.isatty(), **options).write(path, overwrite)
    print(f"{path} written ({path.stat().st_size / 1e6:.1f} MB): it needs no network")
    if open_ and not webbrowser.open(path.absolute().as_uri()):
        print("no browser could be started here; copy the file to where there is one")
