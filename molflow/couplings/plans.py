"""A matrix of costs -> one partner for each of its columns, by the plans of POT (Flamary et al. 2021).

``cost[i, j]`` is that of noise i with molecule j, both of weight 1 / M. Each plan answers with ``partner[j]``, the
noise of molecule j, and ``matched[j]``, whether the plan had one for it.
"""

from __future__ import annotations

import numpy as np

_KEEP = 0.25  # of its mass, below which a molecule has no partner


def exact(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The permutation of the least total cost."""
    import ot

    weight = np.full(len(cost), 1 / len(cost))
    plan = np.asarray(ot.emd(weight, weight, cost))
    return plan.argmax(0), np.ones(len(cost), bool)


def sinkhorn(cost: np.ndarray, uniform: np.ndarray, reg: float) -> tuple[np.ndarray, np.ndarray]:
    """A partner drawn from the column of the plan P = argmin <P, C> + reg * mean(C) * sum P log P (Cuturi 2013)."""
    import ot

    scale = reg * cost.mean() or 1.0
    cost = cost - cost.min(0)  # what a row or a column has in common changes no plan,
    cost = cost - cost.min(1, keepdims=True)  # and without it no row of exp(-C / reg) vanishes
    weight = np.full(len(cost), 1 / len(cost))
    plan = np.asarray(ot.sinkhorn(weight, weight, cost, scale, stopThr=1e-5, warn=False))
    below = np.cumsum(plan, 0)
    partner = (below < uniform * below[-1]).sum(0)
    return partner.clip(max=len(cost) - 1), np.ones(len(cost), bool)


def unbalanced(cost: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The best permutation of those that keep their mass when losing it costs ``penalty`` times the median cost.

    In the plan argmin <P, C> + penalty * median(C) * (KL(P 1 | 1 / M) + KL(P^T 1 | 1 / M)) (Chizat et al. 2018) a pair
    of cost c that has nothing else to go to keeps the share exp(-c / (2 penalty median)) of its mass. Who keeps less
    than a quarter is an outlier and stays with the noise it came with, so the partners remain a permutation.
    """
    import ot

    weight = np.full(len(cost), 1 / len(cost))
    scaled = np.minimum(cost / (np.median(cost) or 1.0) / penalty, 20.0)  # at 20 a pair keeps exp(-10)
    plan = ot.unbalanced.sinkhorn_unbalanced(weight, weight, scaled, 0.05, 1.0, stopThr=1e-4, warn=False)
    matched = np.asarray(plan).sum(0) * len(cost) >= _KEEP
    partner, inside = np.arange(len(cost)), np.flatnonzero(matched)
    if len(inside) > 1:
        partner[inside] = inside[exact(cost[np.ix_(inside, inside)])[0]]
    return partner, matched
