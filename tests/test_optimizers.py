"""Which weights take which step, and how large it is."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from molflow.build import UserError
from molflow.config import TrainConfig
from molflow.networks.dense import Dense
from molflow.networks.pointwise import Pointwise
from molflow.networks.relay import Relay
from molflow.training.optimizers import Muon, make_optimizer, orthogonal

MUON = TrainConfig(optimizer="muon", lr=0.01, weight_decay=0.0)


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dense({"atom": (4, 4), "bond": (3, 3)}, width=8, pair_width=6, vectors=2, heads=2, layers=2)


def give_gradients(weights, seed):
    random = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=random)


def test_a_diagonal_comes_out_as_the_identity_whatever_its_size():
    """diag(3, 1, 0.5) = I diag(3, 1, 0.5) I, so U V^T = I; five rounds reach each singular value within a third."""
    found = orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.5])).unsqueeze(0))[0].float()
    assert (found - torch.eye(3)).abs().max() < 1 / 3
    assert (found - torch.diag(found.diagonal())).abs().max() < 1e-2


@pytest.mark.parametrize("shape", [(3, 12, 5), (3, 5, 12), (1, 7, 7)], ids=str)
def test_directions_are_kept_and_their_sizes_made_equal(shape):
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(given, full_matrices=False)
    s[:, 1:] = s[:, :1] / 5  # one direction five times as strong
    found = orthogonal((u * s.unsqueeze(-2)) @ v).float()
    among = u.mT @ found @ v.mT  # in the bases of the directions
    assert (among - torch.diag_embed(torch.ones_like(s))).abs().max() < 0.4


def test_a_matrix_moves_by_a_fifth_of_the_learning_rate_as_adamw_would():
    """A square matrix of side 16: step 0.2 lr sqrt(16) U V^T has root mean square 0.2 lr, here 0.002."""
    weight = nn.Parameter(torch.zeros(16, 16))
    give_gradients([weight], 0)
    Muon([weight], [nn.Parameter(torch.zeros(2))], lr=0.01, weight_decay=0.0).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.002, rel=0.2)


def test_matrices_of_one_shape_do_not_touch_each_other():
    together = [nn.Parameter(torch.ones(4, 6)) for _ in range(3)]
    give_gradients(together, 0)
    alone = copy.deepcopy(together[1])
    alone.grad = together[1].grad.clone()
    other = nn.Parameter(torch.zeros(2))
    Muon(together, [other], lr=0.1).step()
    Muon([alone], [other], lr=0.1).step()
    torch.testing.assert_close(together[1], alone, rtol=0, atol=1e-4)


def test_what_is_no_hidden_matrix_takes_the_step_of_adamw():
    ours, theirs = network(), network()
    muon = make_optimizer(ours, MUON)
    adamw = torch.optim.AdamW(theirs.parameters(), 0.01, (0.9, 0.99), weight_decay=0.0)
    for step in range(3):
        give_gradients(ours.parameters(), step)
        give_gradients(theirs.parameters(), step)
        muon.step()
        adamw.step()
    differ = {name for (name, a), b in zip(ours.named_parameters(), theirs.parameters()) if not torch.equal(a, b)}
    assert differ == {f"layers.{k}.{name}.weight" for k in (0, 1) for name in HIDDEN}


HIDDEN = ("time", "from_atoms", "from_pairs", "to_pairs", "gathered", "update.0", "update.2", "mix")


def test_the_runners_of_a_relay_are_made_of_layers_each():
    small = {"name": "dense", "width": 8, "pair_width": 6, "vectors": 2, "heads": 2, "layers": 2}
    relay = Relay({"atom": (4, 4), "bond": (3, 3)}, 3, [small, small])
    one, both = (make_optimizer(net, MUON).param_groups[0]["params"] for net in (network(), relay))
    assert len(both) == 2 * len(one) == 4 * len(HIDDEN)


def test_the_decay_of_weights_is_of_both_kinds():
    matrix, vector = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))
    matrix.grad, vector.grad = torch.zeros(4, 4), torch.zeros(4)
    Muon([matrix], [vector], lr=0.1, weight_decay=0.5).step()
    assert matrix.flatten().tolist() == pytest.approx([0.95] * 16)
    assert vector.tolist() == pytest.approx([0.95] * 4)


def test_a_state_that_is_saved_and_restored_goes_on_as_if_nothing_had_happened():
    first, second = network(), network()
    one, other = make_optimizer(first, MUON), make_optimizer(second, MUON)
    for optimizer, weights in ((one, first), (other, second)):
        give_gradients(weights.parameters(), 1)
        optimizer.step()
    kept = io.BytesIO()
    torch.save(one.state_dict(), kept)
    kept.seek(0)
    fresh = make_optimizer(first, MUON)
    fresh.load_state_dict(torch.load(kept, weights_only=True))
    for optimizer, weights in ((fresh, first), (other, second)):
        give_gradients(weights.parameters(), 2)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


def test_weights_without_a_gradient_stay():
    net = network()
    before = copy.deepcopy(net.state_dict())
    make_optimizer(net, MUON).step()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_network_without_layers_is_sent_to_adamw():
    net = Pointwise({})
    assert type(make_optimizer(net, TrainConfig(optimizer="adamw"))) is torch.optim.AdamW
    with pytest.raises(UserError, match="adamw"):
        make_optimizer(net, MUON)


def test_told_on_the_device_that_a_gradient_is_no_number_it_changes_nothing():
    net = network()
    optimizer = Muon([net.layers[0].mix.weight], [net.embed_atoms.weight], lr=0.1, fused=True)
    give_gradients(net.parameters(), 0)
    optimizer.step()
    before, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])
    for weight in net.parameters():
        weight.grad.fill_(torch.nan)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(after[k][name], value) for k in state for name, value in state[k].items())
    optimizer.found_inf = torch.tensor(0.0)
    give_gradients(net.parameters(), 1)
    optimizer.step()
    assert not torch.equal(net.layers[0].mix.weight, before["layers.0.mix.weight"])
