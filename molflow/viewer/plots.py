"""Plots as SVG markup that takes its colours from the page: light, dark, and sharp at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molflow.viewer.document import text

WIDTH, HEIGHT = 320, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 34


@dataclass(frozen=True)
class Line:
    """A curve; ``low`` and ``high`` draw a bar at each point."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False


def histogram(ours: np.ndarray, reference: np.ndarray | None, label: str, whole: bool = False) -> str:
    """Densities of two sets of numbers: ours filled, the reference as an outline. ``whole`` numbers have a bar each."""
    both = np.concatenate([ours, reference]) if reference is not None else ours
    if whole:
        edges = np.arange(np.floor(both.min()), np.ceil(both.max()) + 2) - 0.5
    else:
        low, high = np.percentile(both, [0.5, 99.5])
        edges = np.linspace(low, high if high > low else low + 1e-3, 41)
    sets = [("ours", ours)] + ([("reference", reference)] if reference is not None else [])
    shares = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(1, len(values)) for _, values in sets]
    frame = _Frame((edges[0], edges[-1]), (0.0, 100 * max(share.max() for share in shares) * 1.05), whole=whole)
    shapes = []
    for (name, _), share in zip(sets, shares):
        at = [(edges[0], 0.0)]
        for k, height in enumerate(100 * share):
            at += [(edges[k], height), (edges[k + 1], height)]
        at.append((edges[-1], 0.0))
        shapes.append(f'<path class="{name}" d="{frame.path(at)}"/>')
    return frame.svg(shapes, label, "%", f"histogram of {label}")


def chart(
    lines: Sequence[Line], x_label: str, y_label: str, log_x: bool = False, y: tuple[float, float] | None = None
) -> str:
    """Curves over one axis, each in its colour, with a legend where there are several."""
    xs = np.concatenate([np.asarray(line.x, float) for line in lines])
    ys = np.concatenate([np.asarray(v, float) for line in lines for v in (line.y, line.low, line.high)])
    low, high = y or (float(ys.min()), float(ys.max()))
    margin = 0 if y else 0.05 * (high - low or abs(high) or 1.0)
    frame = _Frame((xs.min(), xs.max()), (low - margin, high + margin), log_x)
    shapes = []
    for k, line in enumerate(lines):
        points = list(zip(line.x, line.y))
        shapes.append(f'<path class="line c{k % 6}" d="{frame.path(points)}"/>')
        for x, bottom, top in zip(line.x, line.low, line.high):
            shapes.append(f'<path class="line bar c{k % 6}" d="{frame.path([(x, bottom), (x, top)])}"/>')
        if line.dots:
            shapes += [
                f'<circle class="dot c{k % 6}" cx="{px}" cy="{py}" r="2.6"/>' for px, py in map(frame.place, points)
            ]
    names = [f'<span class="swatch c{k % 6}"></span>{text(line.name)} ' for k, line in enumerate(lines)]
    legend = f'<div class="legend">{"".join(names)}</div>' if len(lines) > 1 else ""
    return legend + frame.svg(shapes, x_label, y_label, f"{y_label} against {x_label}")


class _Frame:
    """Numbers to places on the paper, and the axes around them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log_x: bool = False, whole: bool = False):
        self.whole = whole
        self.log_x = log_x and x[0] > 0
        self.x = (float(np.log10(x[0])), float(np.log10(x[1]))) if self.log_x else x
        self.y = y

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        value = np.log10(point[0]) if self.log_x else point[0]
        across = (value - self.x[0]) / (self.x[1] - self.x[0] or 1.0)
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0] or 1.0)
        return (
            round(float(LEFT + across * (WIDTH - LEFT - RIGHT)), 1),
            round(float(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)), 1),
        )

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x},{y}" for x, y in map(self.place, points))

    def svg(self, shapes: Sequence[str], x_label: str, y_label: str, title: str) -> str:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        marks = []
        for value in self._x_ticks():
            x, _ = self.place((value, self.y[0]))
            marks.append(f'<path class="tick" d="M{x},{bottom}v4"/>')
            marks.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{_number(value)}</text>')
        for value in ticks(*self.y, 4):
            _, y = self.place((self._left(), value))
            marks.append(f'<path class="rule" d="M{LEFT},{y}H{right}"/>')
            marks.append(f'<text x="{LEFT - 5}" y="{y + 3.5}" text-anchor="end">{_number(value)}</text>')
        marks.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{text(x_label)}</text>')
        marks.append(
            f'<text x="11" y="{(TOP + bottom) / 2}" text-anchor="middle" '
            f'transform="rotate(-90 11 {(TOP + bottom) / 2})">{text(y_label)}</text>'
        )
        axis = f'<path class="axis" d="M{LEFT},{bottom}H{right}"/>'
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">'
            f"{''.join(marks)}{''.join(shapes)}{axis}</svg>"
        )

    def _left(self) -> float:
        return 10 ** self.x[0] if self.log_x else self.x[0]

    def _x_ticks(self) -> list[float]:
        if not self.log_x:
            found = ticks(*self.x, 5)
            return [value for value in found if value == int(value)] if self.whole else found
        low, high = 10 ** self.x[0], 10 ** self.x[1]
        found = [m * 10.0**e for e in range(-6, 12) for m in (1, 2, 5)]
        return [value for value in found if low * 0.999 <= value <= high * 1.001]


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two, about so many.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = float(high - low) or 1.0
    rough = span / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda m: abs(m * power - rough))
    first = int(np.ceil(low / step - 1e-9))
    return [round(float(k * step), 12) for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"
