"""Views as inline SVG and HTML: one drawing function per kind, and nothing that knows an op.

Drawings carry classes, not colours, so that the page's style sheet decides for light, dark and
print; and no style attributes, so that the page can forbid them. Every text is escaped here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup

from woolgather.core.views import View
from woolgather.report.frame import Axis, Frame, Point, value_range
from woolgather.report.text import (
    cell,
    column,
    is_estimate,
    is_number,
    number,
    parts_of,
    visible,
    words,
)
from woolgather.report.view_data import (
    AlarmData,
    Coordinates,
    CurveData,
    FunnelData,
    HistogramData,
    ScatterData,
    TableData,
)

T = TypeVar("T")
COLOURS = 8
"""Classes s0..s7 of the style sheet."""
TABLE_ROWS = 80
SCATTER_POINTS = 700
"""Points drawn per group; more only add ink and bytes."""
REASONS = 12


def draw(view: View) -> Markup:
    """Returns the drawing of a view; a view of an unknown kind, or with broken data, is shown as its
    data."""
    drawer = DRAWERS.get(view.kind)
    if drawer is not None:
        try:
            return drawer(view)
        except (ValueError, TypeError, IndexError):
            pass
    text = json.dumps(view.data, ensure_ascii=False, indent=1, default=str)
    return Markup("<pre class=raw>{}</pre>").format(visible(text, 4000))


def funnel(view: View) -> Markup:
    """Returns a bar per stage, and below them a bar per reason to set rows aside."""
    data = FunnelData.model_validate(view.data)
    reasons = sorted(data.reasons.items(), key=lambda r: (-r[1], r[0]))
    shown = [(words(name), count) for name, count in reasons[:REASONS]]
    if rest := reasons[REASONS:]:
        shown.append((f"{len(rest)} other reasons", sum(count for _, count in rest)))
    top = max((count for _, count in data.stages), default=0)
    lines, before = [], None
    for name, count in data.stages:
        lost = before - count if before is not None else 0
        lines.append(_bar_row(words(name), count, top, "s0", number(-lost) if lost > 0 else ""))
        before = count
    html = _bar_table(lines)
    if shown:
        most = max(count for _, count in shown)
        rows = [_bar_row(name, count, most, "aside", "") for name, count in shown]
        html += Markup("<p class=minor>Set aside, by reason</p>") + _bar_table(rows)
    return html


def histogram(view: View) -> Markup:
    """Returns bars, or an area per series where there are several; as shares of each series where
    their sizes differ much."""
    data = HistogramData.model_validate(view.data)
    edges, series = data.edges, data.series
    if len(edges) < 2 or not series:
        return _nothing()
    totals = [sum(counts) for counts in series.values()]
    some = [total for total in totals if total]
    shares = len(some) > 1 and max(some) > 1.5 * min(some)
    if shares:
        series = {
            k: [c / (t or 1) for c in v] for (k, v), t in zip(series.items(), totals, strict=True)
        }
    highest = max(max(counts, default=0) for counts in series.values()) or 1.0
    frame = Frame(
        Axis(edges[0], edges[-1], data.x),
        Axis(0.0, highest, "share of rows" if shares else "rows", whole=not shares),
    )
    colour, body = colours(series, data.behind), []
    for name, counts in sorted(series.items(), key=lambda each: each[0] != data.behind):
        if not any(counts):
            continue
        if len(some) == 1:
            body += [
                frame.box(a, b, c, colour[name], f"{number(a)} – {number(b)}: {number(c)}")
                for a, b, c in zip(edges, edges[1:], counts, strict=False)
                if c
            ]
        else:
            corners = [(edges[0], 0.0)]
            for a, b, c in zip(edges, edges[1:], counts, strict=False):
                corners += [(a, c), (b, c)]
            body.append(frame.area([*corners, (edges[-1], 0.0)], colour[name], name))
    label = f"{view.title}: " + ", ".join(
        f"{name} {number(total)}" for name, total in zip(series, totals, strict=True)
    )
    sizes = dict(zip(series, totals, strict=True))
    names = {f"{n} ({number(sizes[n])})": classes for n, classes in colour.items()}
    return legend(names if len(series) > 1 else {}) + frame.svg(body, label)


def curve(view: View) -> Markup:
    """Returns a line per series, with its points where they are few."""
    data = CurveData.model_validate(view.data)
    series = {name: _points(points) for name, points in data.series.items()}
    every = [p for points in series.values() for p in points]
    if not every:
        return _nothing()
    whole = all(x.is_integer() for x, _ in every)
    low, high = value_range((p[1] for p in every), pad=0.06)
    if data.y.startswith("%"):  # a share has no room above the whole
        high = max(min(high, 100.0), *(p[1] for p in every))
    frame = Frame(
        Axis(*value_range(p[0] for p in every), data.x, whole=whole), Axis(low, high, data.y)
    )
    body = []
    for i, (name, points) in enumerate(series.items()):
        body.append(frame.line(points, f"s{i % COLOURS}", name))
        if len(points) <= 30:
            body += [
                frame.dot(p, f"s{i % COLOURS}", 2.6, f"{name}: {number(p[0])}, {number(p[1])}")
                for p in points
            ]
    return legend(colours(series if len(series) > 1 else [])) + frame.svg(body, view.title)


def scatter(view: View) -> Markup:
    """Returns a point for each item, its text at the pointer. What the others are seen against lies
    lowest and is grey; of the others the largest groups lie below."""
    data = ScatterData.model_validate(view.data)
    groups = {name: _thin(points) for name, points in data.groups.items()}
    every = [p for points in groups.values() for p in _points(points)]
    if not every:
        return _nothing()
    frame = Frame(
        Axis(*value_range((p[0] for p in every), pad=0.05), data.x),
        Axis(*value_range((p[1] for p in every), pad=0.05), data.y),
        height=400,
    )
    colour, body = colours(groups, data.behind), []
    for name, points in sorted(groups.items(), key=lambda g: (g[0] != data.behind, -len(g[1]))):
        texts = _thin(data.labels.get(name, ()))
        for i, raw in enumerate(points):
            if kept := _points([raw]):
                tip = f"{name}: {texts[i]}" if i < len(texts) else name
                body.append(frame.dot(kept[0], colour[name] + " cloud", 3.4, visible(tip, 160)))
    names = {f"{n} ({number(len(data.groups[n]))})": classes for n, classes in colour.items()}
    return legend(names) + frame.svg(body, view.title)


def table(view: View) -> Markup:
    """Returns the first rows of a table, and how many more there are."""
    data = TableData.model_validate(view.data)
    html = grid(data.columns, data.rows[:TABLE_ROWS])
    if (more := len(data.rows) - TABLE_ROWS) > 0:
        html += Markup("<p class=minor>… and {} more in the step's record</p>").format(number(more))
    return html


def alarm(view: View) -> Markup:
    """Returns a paragraph that the style sheet colours by its level."""
    data = AlarmData.model_validate(view.data)
    level = data.level if data.level in ("note", "warning", "error") else "warning"
    return Markup('<p class="alarm {}"><b>{}</b> {}</p>').format(
        level, visible(view.title, 120) or level.capitalize(), visible(data.text, 2000)
    )


DRAWERS: Mapping[str, Callable[[View], Markup]] = {
    "funnel": funnel,
    "histogram": histogram,
    "curve": curve,
    "scatter": scatter,
    "table": table,
    "alarm": alarm,
}


def grid(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """Returns an HTML table; numbers stand to the right, and a drawn interval beside every number that
    has one."""
    data = TableData(columns=columns, rows=rows)
    sides = [data.column(i) for i in range(len(columns))]
    written = [column(str(title), side) for title, side in zip(columns, sides, strict=True)]
    drawn = [any(is_estimate(v) for v in side) for side in sides]
    stacked = sum(drawn) > 2
    scales = [value_range(_ends(side)) for side in sides]

    def one(i: int, j: int) -> Markup:
        value = sides[i][j]
        text = written[i].cells[j]
        whisker = _whisker(value, scales[i]) if is_estimate(value) else Markup("")
        size = "long" if len(text) > 40 else "brief" if len(text) <= 24 else ""
        tag = "<td class=n>" if written[i].numeric else f'<td dir=auto class="{size}">'
        before = Markup("<td class=w>{}</td>").format(whisker) if drawn[i] and not stacked else ""
        return Markup("{}{}{}{}</td>").format(
            before, Markup(tag), text, whisker if stacked else Markup("")
        )

    heads = [
        Markup('<th scope=col class="{}"{}>{}</th>').format(
            "n" if shown.numeric else "w" if drawn[i] else "",
            Markup(" colspan=2") if drawn[i] and not stacked else "",
            shown.head,
        )
        for i, shown in enumerate(written)
    ]
    lines = [
        Markup("<tr>{}</tr>").format(Markup("").join(one(i, j) for i in range(len(columns))))
        for j in range(len(rows))
    ]
    return Markup(
        "<div class=wide tabindex=0><table class=grid><thead><tr>{}</tr></thead>"
        "<tbody>{}</tbody></table></div>"
    ).format(Markup("").join(heads), Markup("").join(lines))


def _ends(values: Iterable[object]) -> list[float]:
    return [x for v in values if is_estimate(v) for x in parts_of(v) if is_number(x)]


def trend(title: str, points: Sequence[tuple[str, object]], within: Point | None = None) -> Markup:
    """Returns one measure over iterations, with its intervals; values that are not known are gaps.

    The axis spans `within`, or the values and at least a fifth of the greatest: a change in the
    third digit should not look like a cliff.
    """
    width, height = 280, 150
    known = [(i, name, value) for i, (name, value) in enumerate(points) if value is not None]
    ends = [float(v) for _, _, value in known for v in parts_of(value) if is_number(v)]
    low, high = within or value_range(ends, pad=0.12)
    short = 0.2 * max((abs(v) for v in ends), default=0.0) - (high - low)
    if short > 0:
        low, high = low - short / 2, high + short / 2
    if min(ends, default=-1.0) >= 0:
        low = max(low, 0.0)
    frame = Frame(Axis(-0.4, len(points) - 0.6, marked=False), Axis(low, high), width, height)
    body, line = [], []
    for i, name, value in known:
        middle = value["value"] if is_estimate(value) else value
        if not is_number(middle):
            continue
        if is_estimate(value) and is_number(value["low"]) and is_number(value["high"]):
            body.append(frame.line([(i, value["low"]), (i, value["high"])], "s0 whisker"))
        line.append((float(i), float(middle)))
        body.append(frame.dot(line[-1], "s0", 3.6, f"{name}: {cell(value)}"))
    names = [
        frame.text(frame.x(i), height - 10, visible(name, 12), "tick", "mid")
        for i, (name, _) in enumerate(points)
        if len(points) <= 6 or i in (0, len(points) - 1)
    ]
    return frame.svg([frame.line(line, "s0", title), *body, *names], title)


def bar(value: float, top: float, classes: str, second: float = 0.0) -> Markup:
    """Returns a horizontal bar of value / top, followed by `second` / top as what was set aside."""
    a, b = (100 * v / top if top > 0 else 0.0 for v in (value, second))
    return Markup(
        '<svg class=bar viewBox="0 0 100 8" preserveAspectRatio=none aria-hidden=true>'
        '<rect class=rail width=100 height=8 /><rect class="{}" width="{:.2f}" height=8 />'
        '<rect class=aside x="{:.2f}" width="{:.2f}" height=8 /></svg>'
    ).format(classes, a, a, b)


def _whisker(value: Mapping[str, object], scale: Point) -> Markup:
    numbers = [v for v in (value["low"], value["value"], value["high"]) if is_number(v)]
    if len(numbers) < 3:
        return Markup("")
    low, middle, high = numbers
    a, b = scale
    place = [4 + 92 * (v - a) / ((b - a) or 1) for v in (low, middle, high, 0.0)]
    zero = (
        Markup("<line class=zero x1={0:.1f} x2={0:.1f} y1=0 y2=16 />").format(place[3])
        if a <= 0 <= b
        else ""
    )
    sure = "s0" if low > 0 else "aside" if high < 0 else "unsure"
    return Markup(
        "<svg class=whisk viewBox='0 0 100 16' aria-hidden=true>{}"
        '<line class="line {}" x1="{:.1f}" x2="{:.1f}" y1=8 y2=8 />'
        '<circle class="{}" cx="{:.1f}" cy=8 r=3.4 /></svg>'
    ).format(zero, sure, place[0], place[2], sure, place[1])


def _bar_table(rows: Sequence[Markup]) -> Markup:
    return Markup("<table class=bars>{}</table>").format(Markup("").join(rows))


def _bar_row(name: str, count: float, top: float, classes: str, note: str) -> Markup:
    return Markup(
        "<tr><th scope=row>{}</th><td>{}</td><td class=n>{}</td><td class='n lost'>{}</td></tr>"
    ).format(visible(name, 60), bar(count, top, classes), number(count), note)


def colours(names: Iterable[str], behind: str = "") -> dict[str, str]:
    """Returns the class of each name, in order; grey for the one that the others are seen against."""
    rest = [name for name in names if name != behind]
    found = {name: f"s{i % COLOURS}" for i, name in enumerate(rest)}
    return {**found, behind: "behind"} if behind else found


def legend(classes: Mapping[str, str]) -> Markup:
    """Returns a list of the names, each beside its colour; nothing for no names."""
    if not classes:
        return Markup("")
    items = [
        Markup(
            '<li><svg class=key viewBox="0 0 10 10" aria-hidden=true>'
            '<rect class="{}" width=10 height=10 rx=2 /></svg>{}</li>'
        ).format(colour, visible(name, 60))
        for name, colour in classes.items()
    ]
    return Markup("<ul class=legend>{}</ul>").format(Markup("").join(items))


def _nothing() -> Markup:
    return Markup("<p class=minor>Nothing to draw: no values.</p>")


def _points(raw: Iterable[Coordinates]) -> list[Point]:
    """The points whose numbers are known and finite."""
    return [(x, y) for x, y, *_ in raw if is_number(x) and is_number(y)]


def _thin(items: Sequence[T]) -> Sequence[T]:
    if len(items) <= SCATTER_POINTS:
        return items
    return [items[i * len(items) // SCATTER_POINTS] for i in range(SCATTER_POINTS)]
