"""What the averaged weights are worth while training goes on: losses on validation molecules, scores of samples."""

from __future__ import annotations

import torch

from molflow.data.loader import Loader
from molflow.device import fast_matmul
from molflow.rng import Rng, numpy_generator, seed_of
from molflow.training.module import Training
from molflow.training.stream import SAMPLE, VALIDATE

MOST = 2000  # validation molecules


def columns(training: Training) -> list[str]:
    """The columns of metrics.csv."""
    losses = ["loss", *(f"loss_{name}" for name in training.objective.weights)]
    planned = ["steps_planned"] if training.config.train.minutes else []
    return [
        *("step", "molecules", "seconds", *planned, "molecules_per_second", "lr"),
        *losses,
        *(f"val_{name}" for name in losses),
        *("edm_molecule_stable", "strict_valid"),
    ]


@torch.no_grad()
def validation_losses(training: Training) -> dict[str, float]:
    """The averaged weights' loss on validation molecules, with and without a hint as often as training has one.

    Molecules and noise are the same each time and in every run of these data, whatever its seed and its batches.
    """
    config, store, device = training.config, training.store, training.device
    index = store.indices("val")
    if not len(index):
        return {}
    loader = Loader(
        store,
        numpy_generator(VALIDATE).permutation(index)[:MOST],
        config.data.pairs,
        epochs=1,
        shuffle=False,
        fields=training.fields_read,
    )
    training.average.eval()  # which the loop has taken for a part that learns
    sums: dict[str, float] = {}
    for step, batch in loader:
        batch, molecules = batch.to(device), torch.from_numpy(loader.index[loader.plan.at(step)[1]]).to(device)
        for share in training.objective.ways():
            with fast_matmul(device):
                stage = seed_of(VALIDATE, step)  # of the way: each batch stands at its own
                rng = Rng(seed_of(VALIDATE), molecules, together=stage)
                losses = training.losses(training.average, batch, rng)
            for name, loss in {"val_loss": training.objective.total(losses), **losses}.items():
                sums[name] = sums.get(name, 0.0) + share * float(loss) * len(batch) / len(loader.index)
    return {name if name == "val_loss" else f"val_loss_{name}": value for name, value in sums.items()}


def sample_scores(training: Training) -> dict[str, float]:
    """A quick score of samples from the averaged weights."""
    config, model = training.config, training.model
    if "atom" not in model.path.paths or not config.train.samples:
        return {}
    from molflow.evaluate import score

    model.network = training.average
    try:
        batch = model.sample(config.train.samples, seed=seed_of(config.seed, SAMPLE) >> 1)
    finally:
        model.network = training.network
    report = score(batch, protocols=["edm", "strict"], tier="protocols", rows=False)
    rates = {"edm_molecule_stable": "edm", "strict_valid": "strict"}  # none where a protocol does not apply
    found = {name: report[protocol].rates.get(name.removeprefix(f"{protocol}_")) for name, protocol in rates.items()}
    return {name: rate.value for name, rate in found.items() if rate is not None and rate.value is not None}
