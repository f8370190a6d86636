"""bf16 beside fp32: what the network predicts, which way the loss descends, and how well it turns with the molecule."""

from __future__ import annotations

import pytest
import torch

import molflow
from molflow.batch import Batch
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.device import saved_bytes
from molflow.rng import Rng
from molflow.training import Training
from molflow.training.stream import Item, Pairing, Streams

NETWORK = {"name": "dense", "width": 64, "pair_width": 24, "vectors": 6, "heads": 4, "layers": 4}
# root mean square of the difference over that of the value (for pos: of the way from the noise): asked; measured
AGREE = {"pos": 0.02, "atom": 0.02, "bond": 0.02}


@pytest.fixture(scope="module")
def setting(few_molecules):
    """(precision) -> a training whose weights are stirred, and a batch with its noise; equal for both precisions."""

    def make(precision, **network):
        values = {"data": {"path": str(few_molecules), "pairs": 4000}, "network": {**NETWORK, **network}}
        config = parse_config({**values, "train": {"precision": precision, "device": "cpu"}})
        training = Training(config, Store(config.data.path))
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in training.network.parameters():
                weight += 0.1 * torch.randn_like(weight)
        pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
        return training, pairing(Item(3, training.loader().at(3)))

    return make


def predict(training, item, turn=None):
    """What the network makes of the batch halfway, in the precision that training computes in."""
    path, streams = training.model.path, Streams(0)
    rng = streams.at(3, len(item.molecules))
    t = torch.full((len(item.molecules),), 0.5)
    x = path.sample(item.noise, item.molecules, t, rng)
    if turn is not None:
        x = x.replace(pos=x.pos @ turn.T)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=training.uses_bf16()):
        out = training.network(x, t)
    moved = {"pos": out["pos"].float() - x.pos}
    return {name: value.float() for name, value in {**out, **moved}.items()}


def apart(a, b):
    return float((a - b).square().mean().sqrt() / b.square().mean().sqrt())


def gradient(training, item):
    rng = Streams(0).at(3, len(item.molecules))
    loss = training.objective.total(training.losses(training.network, item.molecules, rng, item))
    loss.backward()
    return float(loss.detach()), torch.cat([weight.grad.flatten() for weight in training.network.parameters()])


def test_bf16_predicts_what_fp32_predicts(setting):
    exact, rough = (predict(*setting(precision)) for precision in ("fp32", "bf16"))
    for name, most in AGREE.items():
        assert 0 < apart(rough[name], exact[name]) < most, name


@pytest.mark.parametrize("hint", [0.0, 1.0])
def test_bf16_descends_the_way_fp32_does(setting, hint):
    found = {}
    for precision in ("fp32", "bf16"):
        training, item = setting(precision)
        training.objective.hint = hint
        found[precision] = gradient(training, item)
    (loss, exact), (rough_loss, rough) = found["fp32"], found["bf16"]
    assert rough_loss == pytest.approx(loss, rel=0.01)
    assert torch.cosine_similarity(exact, rough, dim=0) > 0.99


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 5e-3)])
def test_predictions_turn_with_the_molecule(setting, precision, most):
    """Over the way that atoms are moved; labels do not turn. Coordinates are fp32 in both precisions."""
    training, item = setting(precision)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    here, there = predict(training, item), predict(training, item, turn)
    assert apart(there["pos"], here["pos"] @ turn.T) < most
    for name in ("atom", "bond"):
        assert apart(there[name], here[name]) < most


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recomputed_layers_give_the_same_gradient_and_keep_less(setting, precision):
    found, memory = [], []
    for recompute in (False, True):
        training, item = setting(precision, recompute=recompute)
        found.append(gradient(training, item))
        rng = Streams(0).at(3, len(item.molecules))
        memory.append(
            saved_bytes(
                lambda training=training, item=item, rng=rng: training.losses(
                    training.network, item.molecules, rng, item
                ),
                training.network.parameters(),
            )
        )
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert memory[1] < 0.5 * memory[0]


def test_sampling_in_bf16_follows_the_flow_of_fp32():
    model = molflow.load("small", "cpu")
    like = Batch.of_sizes([9, 18, 23])
    noise = model.prior(like, Rng(0, torch.arange(3)))
    for t in (0.0, 0.5, 0.9):
        exact, rough = (model.flow(precision=precision).endpoint(noise, t) for precision in ("fp32", "bf16"))
        for name, value in rough.items():
            assert value.dtype == torch.float32
            assert 0 < apart(value, exact[name]) < 0.02, (name, t)


def test_bf16_samples_are_their_own_and_the_same_each_time():
    model = molflow.load("small", "cpu")
    first, again, exact = (model.sample(20, seed=1, steps=3, precision=name) for name in ("bf16", "bf16", "fp32"))
    assert torch.equal(first.pos, again.pos)
    assert torch.equal(first.bond, again.bond)
    assert torch.equal(first.sizes, exact.sizes)
    assert not torch.equal(first.pos, exact.pos)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_processor_multiplies_it(setting, monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert setting("auto")[0].uses_bf16() == native
    assert setting("bf16")[0].uses_bf16()
    assert not setting("fp32")[0].uses_bf16()
