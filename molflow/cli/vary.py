"""molflow vary"""

from __future__ import annotations

import sys
from typing import Unpack

from molflow.cli.method import Method, component


def vary(
    model: str,
    file: str,
    *,
    out: str,
    t: float = 0.4,
    copies: int = 1,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    **method: Unpack[Method],
) -> None:
    """Make molecules like those of a file: each is noised to a time, and completed anew.

    Near 0 little is left of a molecule, near 1 nearly all. A model that is told what molecules have (qm9-relay,
    qm9-base) is told what this one has, and most of its variants have the same formula. The property parent of each
    variant is the number of its molecule in the file, from 0.

    Args:
        model: a shipped model by name, a run folder, or the path of its weights
        file: molecules with coordinates and hydrogens, of elements that the model knows; xyz get their bonds perceived
        out: .sdf, .xyz, .extxyz, .smi or .npz; all but npz also with .gz
        t: the time that they are noised to, from 0 to below 1
        copies: variants of each molecule
        steps: steps of the whole way, of which those after --t are taken (default: the model's)
        seed: another seed, other variants
        device: auto, cpu, cuda or mps
        overwrite: replace the output if it exists

    Examples:
        molflow vary qm9-relay mine.sdf --t 0.4 --copies 5 --out variants.sdf
    """
    import numpy as np
    import torch

    from molflow.batch import Batch
    from molflow.build import UserError
    from molflow.checkpoint import read_card
    from molflow.chem.io import WRITABLE, format_of, open_writer
    from molflow.chem.molecule import DRAWING, is_drawing
    from molflow.chem.mols import read
    from molflow.cli.outputs import check_outputs
    from molflow.varying import PARENT
    from molflow.varying import vary as varied

    format_of(out, WRITABLE)
    check_outputs({"--out": out}, [file], overwrite)
    mols = read(file)
    whole = [k for k, mol in enumerate(mols) if mol is not None and mol.GetNumAtoms()]
    if not whole:
        raise UserError(f"{file}: none of its {len(mols)} molecules can be read; `molflow score` tells why")
    if flat := [k for k in whole if is_drawing(mols[k])]:
        raise UserError(f"{file}, record {flat[0]}: {DRAWING}, from which no variant can begin")
    if len(whole) < len(mols):
        print(f"note: {len(mols) - len(whole)} of {len(mols)} molecules of {file} are left out", file=sys.stderr)
    solver = method.get("solver")
    how = {**method, "steps": steps, "solver": solver and component(solver)}
    aromatic = 4 in read_card(model).facts.vocabulary.bonds
    batch = Batch.from_rdkit([mols[k] for k in whole], aromatic=aromatic)
    made = varied(model, batch, t, copies=copies, seed=seed, device=device, progress=sys.stderr.isatty(), **how)
    numbers = torch.from_numpy(np.array(whole)[made.props[PARENT].numpy()])
    with open_writer(out, overwrite) as writer:
        writer.write(made.replace(props={PARENT: numbers}))
    print(f"{out} written: {len(made):,} molecules, {copies} of each of {len(whole):,}, from t = {t:g} on")
