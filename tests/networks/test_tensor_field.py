from __future__ import annotations

import copy

import pytest
import torch
from e3nn import o3

from molflow.batch import Batch
from molflow.build import UserError
from molflow.networks.tensor_field import Product, TensorField


def test_the_product_is_that_of_e3nn():
    irreps, harmonics = o3.Irreps("4x0e+4x1o+4x2e"), o3.Irreps("0e+1o+2e")
    ours = Product(irreps, harmonics)
    theirs = o3.TensorProduct(
        irreps,
        harmonics,
        [(4, out) for out, _, _ in ours.paths],
        [(i, j, k, "uvu", True) for k, (_, i, j) in enumerate(ours.paths)],
        shared_weights=False,
        internal_weights=False,
    )
    a, y, w = torch.randn(5, irreps.dim), torch.randn(5, harmonics.dim), torch.randn(5, ours.weights)
    assert len(ours.paths) == 11
    torch.testing.assert_close(ours(a, y, w), theirs(a, y, w))


def test_a_vector_times_the_way_to_its_neighbour_has_their_inner_product_in_it():
    """1o x 1o -> 0e is a . y / sqrt(3), the Wigner symbol of that path."""
    product = Product(o3.Irreps("1x0e+1x1o"), o3.Irreps("0e+1o"))
    path = product.paths.index((o3.Irrep("0e"), 1, 1))
    weights = torch.zeros(1, product.weights)
    weights[0, path] = 1
    out = product(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), torch.tensor([[0.0, 4.0, 5.0, 6.0]]), weights)
    torch.testing.assert_close(out.abs().sum(), torch.tensor(32 / 3**0.5))


@pytest.mark.parametrize("lmax", [1, 3])
def test_other_degrees_are_equivariant_too(lmax):
    network = TensorField({}, channels=4, lmax=lmax, layers=2)
    torch.nn.init.normal_(network.move.weight)
    x, t = Batch.of_points(torch.randn(2, 5, 3)), torch.tensor([0.2, 0.7])
    turn = o3.rand_matrix()
    with torch.no_grad():
        moved = network(x, t)["pos"] @ turn.T
        torch.testing.assert_close(network(x.replace(pos=x.pos @ turn.T), t)["pos"], moved, atol=1e-4, rtol=0)


@pytest.mark.parametrize("wrong, says", [({"dim": 2}, "not of 2"), ({"lmax": 0}, "at least 1")])
def test_what_it_cannot_do_is_said(wrong, says):
    with pytest.raises(UserError, match=says):
        TensorField({}, **wrong)


def test_a_copy_holds_weights_and_nothing_else():
    """An average of weights is a copy; e3nn's own products would bring generated constants into its state."""
    network = copy.deepcopy(TensorField({"atom": (3, 3)}))
    assert set(network.state_dict()) == set(dict(network.named_parameters()))
