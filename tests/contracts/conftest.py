"""What the contract suites share: a member built as an experiment builds it, and molecules to try it on.

A member is built from its family's dict and its constructor's defaults; the values below are those that an experiment
supplies. So a new member is tested by being in the dict.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from molflow.batch import PAIR_FIELDS, Batch, mirror
from molflow.build import UserError, build
from molflow.couplings import COUPLINGS
from molflow.data import TOYS
from molflow.metrics import MEASUREMENTS, METRICS, PROTOCOLS
from molflow.networks import NETWORKS
from molflow.objectives import OBJECTIVES
from molflow.paths import PATHS
from molflow.plugins import installed
from molflow.priors import PRIORS
from molflow.solvers import SOLVERS
from molflow.times import TIMES

FAMILIES = {
    "path": PATHS,
    "coupling": COUPLINGS,
    "prior": PRIORS,
    "network": NETWORKS,
    "solver": SOLVERS,
    "times": TIMES,
    "objective": OBJECTIVES,
    "protocol": PROTOCOLS,
    "measurement": MEASUREMENTS,
    "toy": TOYS,
}
for what, choices in FAMILIES.items():  # before the suites read them: what installed packages bring is tested as well
    brought = {name: point.value for name, (point, *_) in installed(what).items() if name not in choices}
    choices.update(brought)
    if choices is PROTOCOLS or choices is MEASUREMENTS:
        METRICS.update(brought)

STATES = {"atom": 6, "charge": 3, "bond": 5}  # atom and bond have a hidden state besides their classes
CLASSES = {"atom": 5, "charge": 3, "bond": 4}
SIZES = (5, 1, 9, 2, 4)


def member(family, choices, name, **given):
    """The member ``name`` of a family as its defaults make it."""
    try:
        return build(family, choices, name, **given)
    except (UserError, TypeError) as error:
        pytest.fail(
            f"the contract suite cannot build {family} {name!r} ({error}). A member of this family is built from "
            f"{', '.join(given) or 'nothing'}: give its other arguments defaults, or let experiment.py and the suite "
            "of this family supply them"
        )


def molecules(sizes=SIZES, fields=(), dim=3, seed=0, dtype=torch.float32, atoms=None, counts=CLASSES):
    """Random class indices and centred coordinates about the size of real molecules, padded to ``atoms``."""
    random = torch.Generator().manual_seed(seed)
    x = Batch.of_sizes(list(sizes), dim).pad_to(atoms or max(sizes))
    B, N = x.mask.shape
    values = {"pos": 1.5 * torch.randn(B, N, dim, generator=random)}
    for name in fields:
        shape = (B, N, N) if name in PAIR_FIELDS else (B, N)
        values[name] = torch.randint(counts[name], shape, generator=random)
    return x.replace(**values).tidy().to(dtype=dtype)


def hint(x, fields=(), seed=1):
    """An endpoint as a network might have predicted it: positions, and distributions over the classes."""
    random = torch.Generator().manual_seed(seed)
    out = {"pos": x.pos + 0.5 * torch.randn(x.pos.shape, generator=random).to(x.pos)}
    for name in fields:
        shape = (*x.mask.shape, x.mask.shape[1]) if name in PAIR_FIELDS else x.mask.shape
        logits = torch.randn(*shape, CLASSES[name], generator=random).to(x.pos)
        out[name] = (logits + logits.transpose(1, 2) if name in PAIR_FIELDS else logits).softmax(-1)
    return out


def garbage(x, seed=2):
    """The same molecules with nonsense in the padding: far coordinates, labels at random."""
    random = torch.Generator().manual_seed(seed)
    changes = {"pos": torch.where(x.mask[..., None], x.pos, 1e3 * torch.randn(x.pos.shape, generator=random).to(x.pos))}
    padded = ~(x.mask[:, :, None] & x.mask[:, None, :])
    for name in x.fields[1:]:
        value = getattr(x, name)
        noise = torch.randint(CLASSES[name], value.shape, generator=random)
        if name in PAIR_FIELDS:
            noise = mirror(noise, torch.ones_like(padded))
            changes[name] = torch.where(padded, noise, value)
        else:
            changes[name] = torch.where(x.mask, value, noise)
    return x.replace(**changes)


def rotation(dim=3, seed=0, reflect=False):
    """A random rotation [D, D] in float64, or a rotation followed by a reflection."""
    q, _ = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    if (torch.linalg.det(q) < 0) != reflect:
        q[:, 0] = -q[:, 0]
    return q


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    return SimpleNamespace(
        STATES=STATES,
        CLASSES=CLASSES,
        SIZES=SIZES,
        member=member,
        molecules=molecules,
        hint=hint,
        garbage=garbage,
        rotation=rotation,
    )
