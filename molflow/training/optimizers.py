"""The optimisers that training can use, by the name that a configuration gives."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from molflow.build import UserError
from molflow.config import TrainConfig

MATCH = 0.2  # root mean square of AdamW's step over its learning rate, as measured by Liu et al. 2025
ROUNDS = ((3.4445, -4.7750, 2.0315),) * 5  # a, b, c of X <- a X + b (X X^T) X + c (X X^T)^2 X


def make_optimizer(network: nn.Module, train: TrainConfig, fused: bool = False) -> torch.optim.Optimizer:
    """What ``train.optimizer`` names, on a network's weights; a ``fused`` step never asks the device for a result."""
    betas, decay = (0.9, train.beta2), train.weight_decay
    if train.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), train.lr, betas, weight_decay=decay, fused=fused)
    matrices, others = [], []
    for name, weight in network.named_parameters():
        (matrices if is_hidden_matrix(name, weight) else others).append(weight)
    if not matrices:
        raise UserError("train.optimizer=muon is for networks made of layers; this one takes adamw")
    return Muon(matrices, others, train.lr, betas, weight_decay=decay, fused=fused)


def is_hidden_matrix(name: str, weight: Tensor) -> bool:
    """Whether a weight is a matrix between features: inside a layer, so not of the first inputs nor of the heads."""
    return "layers" in name.split(".") and weight.ndim == 2 and min(weight.shape) > 1


class Muon(torch.optim.AdamW):
    """AdamW whose hidden matrices take orthogonal steps instead (Jordan et al. 2024; Liu et al. 2025).

    M <- mu M + G;  W <- (1 - lr wd) W - 0.2 lr sqrt(max(rows, columns)) orthogonal(G + mu M), so every direction of a
    matrix learns at one pace, with steps as large as AdamW's: both kinds of weights share one learning rate.
    Where ``found_inf`` says on the device that a gradient is not finite, nothing changes, as with a fused AdamW.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        fused: bool = False,
    ):
        groups = [{"params": list(matrices), "momentum": momentum}, {"params": list(others), "momentum": None}]
        super().__init__(groups, lr, betas, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure=None):
        """One step of every weight that has a gradient."""
        groups = self.param_groups
        for group in groups:
            if group["momentum"] is not None:
                self._step_matrices(group)
        self.param_groups = [group for group in groups if group["momentum"] is None]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _step_matrices(self, group: dict) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                # AdamW looks for "step" in every state that it loads
                self.state[weight].update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        moments = [self.state[weight]["momentum"] for weight in weights]
        mu, decay, pace = group["momentum"], group["lr"] * group["weight_decay"], -MATCH * group["lr"]
        if self.found_inf is not None:  # factors of one and of zero instead of a question to the device
            good, none = 1 - self.found_inf, torch.zeros_like(self.found_inf)
            flat = torch.where(good > 0, torch.cat([gradient.flatten() for gradient in gradients]), none)
            parts = flat.split([gradient.numel() for gradient in gradients])
            gradients = [part.view_as(gradient) for part, gradient in zip(parts, gradients)]
            mu, decay, pace = 1 - (1 - mu) * good, decay * good, pace * good
        torch._foreach_mul_(moments, mu)
        torch._foreach_add_(moments, gradients)
        ahead = torch._foreach_add(gradients, moments, alpha=group["momentum"])
        torch._foreach_mul_(weights, 1 - decay)
        alike: dict[torch.Size, list[int]] = {}
        for k, weight in enumerate(weights):
            alike.setdefault(weight.shape, []).append(k)
        for shape, places in alike.items():  # matrices of one shape as one stack
            stack = torch.stack([ahead[k] for k in places])
            steps = orthogonal(stack).to(stack.dtype) * (pace * max(shape) ** 0.5)
            torch._foreach_add_([weights[k] for k in places], list(steps.unbind()))


def orthogonal(stack: Tensor) -> Tensor:
    """U V^T of each G = U S V^T, with singular values brought to about one by products of matrices alone.

    >>> u = orthogonal(torch.randn(2, 8, 5).float())
    >>> bool((torch.linalg.svdvals(u.float()) - 1).abs().max() < 0.4)
    True
    """
    x = stack.mT if stack.shape[-2] > stack.shape[-1] else stack
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for a, b, c in ROUNDS:
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if stack.shape[-2] > stack.shape[-1] else x
