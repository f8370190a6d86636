from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.geometry import centre
from molflow.priors.prior import Prior
from molflow.rng import Rng


class Harmonic(Prior):
    """x0 ~ exp(-sum over springs of |x_i - x_j|^2 / (2 length^2)), centred (Jing et al. 2023; Stark et al. 2024).

    ``graph: bonds`` has a spring for each bond of the molecule, so it is for molecules whose bonds are given, and its
    fragments hang together as loosely as the ends of a chain. Where the bonds are to be generated there are none to
    read, and a spanning tree made up would be as good as any other; so ``graph: chain`` joins each atom to the next, a
    random walk, which is wide where molecules are large. ``align`` then gives every atom the place on it that is best.

    ``length`` is the standard deviation of each coordinate of a spring: 0.8 makes bonds of 1.4 angstrom.
    """

    fields = ("pos",)
    normal = True

    def __init__(
        self,
        field: str,
        channels: int,
        graph: Literal["chain", "bonds"] = "chain",
        length: float = 0.8,
        centred: bool = True,
    ):
        if length <= 0:
            raise UserError(f"prior harmonic of {field}: length must be above 0, not {length}")
        if not centred:
            raise UserError(f"prior harmonic of {field} has no place in space: take gaussian where data.centred=false")
        self.centred = True
        self.field, self.channels, self.graph, self.length = field, channels, graph, length
        self.reads = ("bond",) if graph == "bonds" else ()

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return rng.normal(*shape, self.channels)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = super().__call__(like, rng)
        if self.graph == "chain":
            pos = x0.pos.cumsum(1)
        else:
            stiffness, modes = self.modes(like)  # P^(-1/2) z has the covariance P^(-1)
            pos = (modes / stiffness.sqrt().unsqueeze(1) @ modes.transpose(1, 2) @ x0.pos.double()).to(x0.pos)
        return x0.replace(pos=centre(self.length * pos, x0.mask))

    def log_prob(self, x: Batch) -> Tensor:
        stiffness, modes = self.modes(x)
        pos, n = centre(x.pos, x.mask).double(), x.sizes
        strain = (modes.transpose(1, 2) @ pos).square().sum(-1) * stiffness
        fixed = x.mask.shape[1] - n + 1  # modes of the padding and of the centre, each as stiff as `modes` made it
        free = stiffness.log().sum(1) - fixed * _loosest(n).clamp(min=1).log()
        constant = (n - 1) * math.log(2 * math.pi * self.length**2)
        return (self.channels / 2 * (free - constant) - strain.sum(1) / (2 * self.length**2)).to(x.pos)

    def modes(self, x: Batch) -> tuple[Tensor, Tensor]:
        """Eigenvalues [B, N] and eigenvectors [B, N, N] of the springs' Laplacian, none looser than a chain's."""
        within = x.mask[:, :, None] & x.mask[:, None, :]
        spring = self.springs(x).double()
        laplacian = torch.diag_embed(spring.sum(2)) - spring
        centre_too = within.double() / x.sizes.clamp(min=1)[:, None, None]  # else no force would hold the centre
        stiffness, modes = torch.linalg.eigh(laplacian + centre_too + torch.diag_embed((~x.mask).double()))
        return stiffness.maximum(_loosest(x.sizes).unsqueeze(1)), modes

    def springs(self, x: Batch) -> Tensor:
        """Whether a spring joins two atoms, [B, N, N]."""
        if self.graph == "chain":
            index = torch.arange(x.mask.shape[1], device=x.device)
            return ((index[:, None] - index).abs() == 1) & x.pair_mask
        if x.bond is None:
            raise UserError(
                "prior harmonic with graph: bonds starts from the molecule's bonds, and none are given here; where a "
                "model makes the bonds itself use graph: chain, or gaussian or sized"
            )
        return (x.bond > 0) & x.pair_mask


def _loosest(n: Tensor) -> Tensor:
    """The least eigenvalue but zero of a chain of n atoms, and so of any connected graph (Fiedler 1973); [B]."""
    return 2 - 2 * torch.cos(math.pi / n.clamp(min=1).double())
