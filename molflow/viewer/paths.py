"""The way of a few molecules from noise, as numbers for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molflow.batch import Batch
from molflow.chem.draw import COLOUR, OTHER
from molflow.chem.elements import SYMBOL
from molflow.chem.rdkit import to_rdkit
from molflow.viewer.structure import smiles_of

if TYPE_CHECKING:
    from molflow.generate import Model


def paths(model: Model, count: int, seed: int) -> dict[str, Any]:
    """``times`` [T], and of each molecule its frames [T]: elements, coordinates, bonds."""
    out, times = [], []
    for i in range(count):
        states: list[tuple[float, Batch]] = []
        end = model.sample_ids(
            np.array([i]), seed, model.defaults, watch=lambda t, x, to=states: to.append((t, x.to("cpu")))
        )
        times = [round(float(t), 4) for t, _ in states]
        out.append({"frames": frames([x for _, x in states]), "smiles": _smiles(end)})
    colours = {SYMBOL[z]: _css(colour) for z, colour in COLOUR.items()}
    return {"times": times, "paths": out, "colours": colours, "other": _css(OTHER)}


def frames(states: list[Batch]) -> list[dict[str, Any]]:
    """Of batches of one molecule each, turned so that the last lies flat."""
    pos = np.zeros((len(states), int(states[-1].sizes[0]), 3))  # [T, N, 3]
    for k, state in enumerate(states):
        pos[k, :, : state.pos.shape[-1]] = state.pos[0][state.mask[0]].numpy()
    if states[-1].pos.shape[-1] == 3 and pos.shape[1] > 2:
        last = pos[-1] - pos[-1].mean(0)
        axes = np.linalg.svd(last, full_matrices=False)[2]
        axes[2] *= np.sign(np.linalg.det(axes))  # a rotation
        pos = (pos - pos[-1].mean(0)) @ axes.T
    return [
        {"elements": _elements(state), "pos": np.round(where, 3).tolist(), "bonds": _bonds(state)}
        for state, where in zip(states, pos)
    ]


def _elements(state: Batch) -> list[str]:
    if state.atom is None:
        return [""] * int(state.sizes[0])
    return [SYMBOL[z] if 0 < z < len(SYMBOL) else "" for z in state.atom[0][state.mask[0]].tolist()]


def _bonds(state: Batch) -> list[list[int]]:
    if state.bond is None:
        return []
    here = state.mask[0]
    bond = state.bond[0][here][:, here].triu(1)
    return [[i, j, int(bond[i, j])] for i, j in bond.nonzero().tolist()]


def _smiles(end: Batch) -> str:
    return smiles_of(to_rdkit(end, sanitize=False)[0]) if end.atom is not None else ""


def _css(colour: tuple[float, float, float]) -> list[int]:
    return [round(255 * part) for part in colour]
