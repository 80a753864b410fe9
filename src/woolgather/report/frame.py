"""The frame of a drawing: axes, round ticks, and the mapping from data to the page.

Marks are SVG elements with classes and a title that a pointer shows. What is drawn where is the
business of charts.py; nothing here knows a view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from woolgather.report.text import number, places_of, visible

WIDTH, HEIGHT = 560, 260
Point = tuple[float, float]


class Frame:
    """Axes over the ranges `xs` and `ys`; `whole` and `steps` keep fractions off y and x."""

    def __init__(
        self,
        xs: Point,
        ys: Point,
        xlabel: str = "",
        ylabel: str = "",
        width: int = WIDTH,
        height: int = HEIGHT,
        *,
        whole: bool = False,
        steps: bool = False,
        xticks: bool = True,
    ) -> None:
        self.width, self.height, self.xs, self.ys = width, height, xs, ys
        self.xlabel, self.ylabel = visible(xlabel, 60), visible(ylabel, 60)
        marks = ticks(*ys, 5 if height > 200 else 3)
        marks = marks if len(marks) > 1 else ticks(*ys, 6)
        self.yticks = [t for t in marks if not whole or float(t).is_integer()]
        self.xticks = ticks(*xs, 7) if xticks else []
        if steps:
            self.xticks = [t for t in self.xticks if float(t).is_integer()]
        self.places = places_of(self.yticks), places_of(self.xticks)
        widest = max((len(number(t, self.places[0])) for t in self.yticks), default=1)
        self.left = 14 + 6.4 * widest
        self.top = 26 if self.ylabel else 10
        self.bottom = 44 if self.xlabel else 26

    def x(self, value: float) -> float:
        a, b = self.xs
        return self.left + (value - a) / ((b - a) or 1) * (self.width - self.left - 12)

    def y(self, value: float) -> float:
        a, b = self.ys
        floor = self.height - self.bottom
        return floor - (value - a) / ((b - a) or 1) * (floor - self.top)

    def box(self, a: float, b: float, count: float, classes: str, tip: str) -> Markup:
        """A bar from 0 to `count` over [a, b]."""
        left, right, top = self.x(a), self.x(b), self.y(count)
        mark = (
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}</title></rect>"
        )
        width = max(right - left - 1, 0.5)
        return Markup(mark).format(classes, left + 0.5, top, width, self.y(0) - top, tip)

    def dot(self, point: Point, classes: str, radius: float, tip: str) -> Markup:
        mark = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>'
        return Markup(mark).format(classes, self.x(point[0]), self.y(point[1]), radius, tip)

    def line(self, points: Sequence[Point], classes: str, name: str = "") -> Markup:
        return self._path("polyline", "line", points, classes, name)

    def area(self, points: Sequence[Point], classes: str, name: str = "") -> Markup:
        return self._path("polygon", "area", points, classes, name)

    def _path(
        self, tag: str, kind: str, points: Sequence[Point], classes: str, name: str
    ) -> Markup:
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        tip = Markup("<title>{}</title>").format(visible(name, 80)) if name else ""
        mark = f'<{tag} class="{kind} {{}}" points="{{}}">{{}}</{tag}>'
        return Markup(mark).format(classes, path, tip)

    def text(self, x: float, y: float, text: str, kind: str, anchor: str) -> Markup:
        mark = '<text class="{} {}" x="{:.1f}" y="{:.1f}">{}</text>'
        return Markup(mark).format(kind, anchor, x, y, visible(text, 80))

    def svg(self, body: Sequence[Markup], label: str) -> Markup:
        """The whole drawing; `label` is what a screen reader says."""
        floor, right = self.height - self.bottom, self.width - 12
        rule = '<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" />'
        parts = []
        for t in self.yticks:
            parts += [
                Markup(rule).format("rule", self.left, right, self.y(t), self.y(t)),
                self.text(self.left - 7, self.y(t) + 3.8, number(t, self.places[0]), "tick", "end"),
            ]
        for t in self.xticks:
            parts.append(self.text(self.x(t), floor + 17, number(t, self.places[1]), "tick", "mid"))
        parts.append(Markup(rule).format("axis", self.left, right, floor, floor))
        if self.xlabel:
            parts.append(self.text(right, self.height - 5, self.xlabel, "label", "end"))
        if self.ylabel:
            parts.append(self.text(2, 12, self.ylabel, "label", "start"))
        mark = '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        inner = Markup("").join([*parts, *body])
        return Markup(mark).format(self.width, self.height, visible(label, 200), inner)


def value_range(values: Iterable[float], pad: float = 0.0) -> Point:
    """Least and greatest with `pad` of the span on each side, but nothing below 0 where no value is;
    (0, 1) of nothing, or of zeros."""
    found = list(values)
    if not any(found):
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = (high - low) * pad if high > low else abs(high) * 0.1
    return (low - room if low < 0 else max(low - room, 0.0)), high + room


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers inside [low, high], about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [round(i * size, 12) for i in range(first, last + 1)]
