"""The frame of a drawing: axes, round ticks, and the mapping from data to the page.

Marks are SVG elements with classes and a title that a pointer shows. What is drawn where is the
business of charts.py; nothing here knows a view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from woolgather.report.text import number, visible

WIDTH, HEIGHT = 560, 260
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """The values that one side of a drawing spans, and what is written along it."""

    low: float
    high: float
    label: str = ""
    whole: bool = False
    """Whether only whole numbers are marked, as for counts and iterations."""
    marked: bool = True
    """Whether any number is marked at all."""

    @property
    def span(self) -> float:
        """Returns the length of the axis, never 0, so that a value may be divided by it."""
        return (self.high - self.low) or 1

    def ticks(self, about: int) -> list[float]:
        """Returns about so many round numbers on the axis; none where it is not marked."""
        found = ticks(self.low, self.high, about) if self.marked else []
        return [t for t in found if not self.whole or float(t).is_integer()]


class Frame:
    """Two axes on a page of `width` by `height` units; data are placed by `x` and `y`."""

    def __init__(self, across: Axis, up: Axis, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.across, self.up, self.width, self.height = across, up, width, height
        self.xlabel, self.ylabel = visible(across.label, 60), visible(up.label, 60)
        self.xticks = across.ticks(7)
        self.yticks = up.ticks(5 if height > 200 else 3)
        if len(self.yticks) < 2:
            self.yticks = up.ticks(6)
        self.places = tick_places(self.yticks), tick_places(self.xticks)
        widest = max((len(number(t, self.places[0])) for t in self.yticks), default=1)
        self.left = 14 + 6.4 * widest
        self.top = 26 if self.ylabel else 10
        self.bottom = 44 if self.xlabel else 26

    def x(self, value: float) -> float:
        """Returns the place of a value across the page, from the left."""
        share = (value - self.across.low) / self.across.span
        return self.left + share * (self.width - self.left - 12)

    def y(self, value: float) -> float:
        """Returns the place of a value up the page, from the top as SVG counts it."""
        floor = self.height - self.bottom
        return floor - (value - self.up.low) / self.up.span * (floor - self.top)

    def box(self, a: float, b: float, count: float, classes: str, tip: str) -> Markup:
        """Returns a bar from 0 to `count` over [a, b]; `tip` shows at the pointer."""
        left, right, top = self.x(a), self.x(b), self.y(count)
        mark = (
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}</title></rect>"
        )
        width = max(right - left - 1, 0.5)
        return Markup(mark).format(classes, left + 0.5, top, width, self.y(0) - top, tip)

    def dot(self, point: Point, classes: str, radius: float, tip: str) -> Markup:
        """Returns a point; `tip` shows at the pointer."""
        mark = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>'
        return Markup(mark).format(classes, self.x(point[0]), self.y(point[1]), radius, tip)

    def line(self, points: Sequence[Point], classes: str, name: str = "") -> Markup:
        """Returns a line through the points."""
        return self._path("polyline", "line", points, classes, name)

    def area(self, points: Sequence[Point], classes: str, name: str = "") -> Markup:
        """Returns the area that the points enclose."""
        return self._path("polygon", "area", points, classes, name)

    def _path(
        self, tag: str, kind: str, points: Sequence[Point], classes: str, name: str
    ) -> Markup:
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        tip = Markup("<title>{}</title>").format(visible(name, 80)) if name else ""
        mark = f'<{tag} class="{kind} {{}}" points="{{}}">{{}}</{tag}>'
        return Markup(mark).format(classes, path, tip)

    def text(self, x: float, y: float, text: str, kind: str, anchor: str) -> Markup:
        """Returns a text at a place of the page, which is no value of the data."""
        mark = '<text class="{} {}" x="{:.1f}" y="{:.1f}">{}</text>'
        return Markup(mark).format(kind, anchor, x, y, visible(text, 80))

    def svg(self, body: Sequence[Markup], label: str) -> Markup:
        """Returns the whole drawing; `label` is what a screen reader says."""
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
    """Returns the least and the greatest value, with `pad` of the span added on each side.

    The range goes below 0 only where a value does. Without a value other than 0 it is (0, 1).
    """
    found = list(values)
    if not any(found):
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = (high - low) * pad if high > low else abs(high) * 0.1
    return (low - room if low < 0 else max(low - room, 0.0)), high + room


def tick_places(found: Sequence[float]) -> int:
    """Returns the places after the point that tell every tick exactly, at most 6."""
    exact = (
        places
        for places in range(6)
        if all(math.isclose(round(t, places), t, abs_tol=1e-12) for t in found)
    )
    return next(exact, 6)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Returns round numbers inside [low, high], about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [round(i * size, 12) for i in range(first, last + 1)]
