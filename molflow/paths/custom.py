from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.paths.affine import Positions

FUNCTIONS = {name: getattr(torch, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "sigmoid")}
NUMBERS = {"pi": math.pi, "e": math.e}
OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class Custom(Positions):
    """x_t = alpha(t) x1 + sigma(t) x0 with curves of your own, as formulas in t; their derivatives are automatic.

    >>> path = Custom(alpha="t ** 2", sigma="1 - t")
    >>> path.slopes(torch.tensor(0.5))
    (tensor(1.), tensor(-1.))
    """

    def __init__(
        self,
        alpha: str = "t",
        sigma: str = "1 - t",
        predicts: Literal["endpoint", "noise", "velocity", "preconditioned"] = "endpoint",
        weigh: Literal["velocity", "noise", "endpoint"] = "velocity",
        cap: float = 100.0,
    ):
        super().__init__(predicts, weigh, cap)
        self._alpha, self._sigma = formula(alpha), formula(sigma)
        t = torch.linspace(0, 1, 201, dtype=torch.float64)
        a, s = self.alpha(t), self.sigma(t)
        rate = self.slopes(t[1:-1])[0] * s[1:-1] - a[1:-1] * self.slopes(t[1:-1])[1]
        for what, holds in {
            "alpha(0) is at most 0.05 and sigma(0) within 0.05 of 1": abs(a[0]) <= 0.05 and abs(s[0] - 1) <= 0.05,
            "alpha(1) = 1 and sigma(1) = 0": abs(a[-1] - 1) < 1e-6 and abs(s[-1]) < 1e-6,
            "sigma > 0 before the end": bool((s[:-1] > 0).all()),
            "alpha / sigma always rises": bool((rate > 0).all()),
            "a finite slope at t = 0": all(bool(slope.isfinite()) for slope in self.slopes(t[0])),
        }.items():
            if not holds:
                raise UserError(f"path custom: alpha={alpha!r} and sigma={sigma!r} make no path: need {what}")

    def alpha(self, t: Tensor) -> Tensor:
        return self._alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._sigma(t)


def formula(text: str) -> Callable[[Tensor], Tensor]:
    """``text`` as a function of t: numbers, pi, e, + - * / **, parentheses and a few functions; nothing else runs."""

    def broken(why: str) -> UserError:
        return UserError(
            f"path custom: cannot read {text!r} ({why}); write a formula in t, with + - * / **, {', '.join(FUNCTIONS)}"
        )

    def value(node: ast.AST, t: Tensor) -> Any:
        match node:
            case ast.Expression(body):
                return value(body, t)
            case ast.Constant(int() | float() as number):
                return float(number)
            case ast.Name(name) if name == "t" or name in NUMBERS:
                return t if name == "t" else NUMBERS[name]
            case ast.BinOp(left, sign, right) if type(sign) in OPERATORS:
                return OPERATORS[type(sign)](value(left, t), value(right, t))
            case ast.UnaryOp(sign, operand) if type(sign) in OPERATORS:
                return OPERATORS[type(sign)](value(operand, t))
            case ast.Call(ast.Name(name), [argument], []) if name in FUNCTIONS:
                return FUNCTIONS[name](torch.as_tensor(value(argument, t), dtype=t.dtype, device=t.device))
            case _:
                raise broken(ast.unparse(node))

    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise broken(str(error)) from None
    try:
        value(tree, torch.full((), 0.5, dtype=torch.float64))
    except (ArithmeticError, RecursionError) as error:
        raise broken(str(error)) from None
    return lambda t: value(tree, t) * torch.ones_like(t)
