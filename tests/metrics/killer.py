"""A scorer that dies on molecules of 13 atoms, for a worker to import."""

from __future__ import annotations

import os
import signal

from molflow.metrics.shard import Block, Plan, score_block


def dies_on_13_atoms(plan: Plan, block: Block):
    if (block.molecules.sizes == 13).any():
        os.kill(os.getpid(), signal.SIGKILL)
    return score_block(plan, block)
