"""Training molecules to compare with: a random part of them, and their SMILES."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molflow.data.store import Store
from molflow.metrics.intake import of_batch
from molflow.metrics.molecules import Molecules
from molflow.metrics.source import STORE, Source
from molflow.metrics.subset import Subset
from molflow.rng import numpy_generator

MOLECULES = 1000  # whose geometry is compared


@dataclass(frozen=True)
class Training:
    molecules: Molecules
    smiles: list[str]


def training(reference: Any, seed: int, neighbours: int) -> Training:
    """Of the training split of a data file, or of all molecules of any other source."""
    if isinstance(reference, str) and reference.endswith(STORE) and Path(reference).exists():
        reference = Store(reference)
    if isinstance(reference, Store):
        rng = numpy_generator(seed)
        own = reference.indices("train")
        drawn = own[rng.permutation(len(own))]
        fields = [name for name in reference.fields if name in ("pos", "atom", "charge", "bond")]
        molecules = of_batch(reference.batch(np.sort(drawn[:MOLECULES]), fields=fields))
        smiles = [text for k in drawn[:neighbours].tolist() if (text := reference.smiles(k))]
        return Training(molecules, smiles or _smiles(molecules))
    part = Subset(MOLECULES, seed)
    for block in Source(reference, Store, split="train").blocks():
        part = part.add(block.molecules)
    return Training(part.molecules, _smiles(part.molecules))


def _smiles(molecules: Molecules) -> list[str]:
    return [text for text in molecules.generated.smiles if text]
