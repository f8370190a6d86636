from __future__ import annotations

import torch

from molflow.batch import Batch
from molflow.networks.pointwise import Pointwise


def test_no_point_sees_another():
    network = Pointwise({"atom": (3, 3)}, dim=2, width=32)
    torch.nn.init.normal_(network.move.weight)
    x = Batch.of_points(torch.randn(1, 4, 2)).replace(atom=torch.tensor([[0, 1, 2, 0]]))
    other = x.replace(pos=x.pos + torch.tensor([[[0.0], [1.0], [1.0], [1.0]]]))
    t = torch.tensor([0.3])
    with torch.no_grad():
        a, b = network(x, t), network(other, t)
    assert torch.equal(a["pos"][:, 0], b["pos"][:, 0])
    assert torch.equal(a["atom"][:, 0], b["atom"][:, 0])
    assert not torch.allclose(a["pos"][:, 1], b["pos"][:, 1] - 1)


def test_it_learns_a_map_of_points():
    """A quarter turn of the plane, to a hundredth, in a few hundred steps."""
    torch.manual_seed(0)
    network = Pointwise({}, dim=2, width=64, layers=2)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(400):
        pos = torch.randn(256, 1, 2)
        target = torch.stack([-pos[..., 1], pos[..., 0]], -1)
        loss = (network(Batch.of_points(pos), torch.rand(256))["pos"] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
