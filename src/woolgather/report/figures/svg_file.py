"""A drawing of a page as an SVG file of its own, with its colours and its legend.

The one idea: a page has style and legend beside its drawings; a file has to bring both along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup

from woolgather.report.frame import WIDTH
from woolgather.report.text import number, visible, words
from woolgather.report.view_data import FunnelData

STYLE = Path(__file__).parents[1] / "style.css"
LINE = 18
"""Height of a line of the legend."""
LETTER = 6.2
"""Width of a letter of the legend, about."""
EDGE = 12
NAMES, COUNTS = 190, 60
"""Widths of what stands before and after the bars of a funnel."""
GAP = 10
"""Height between the stages of a funnel and the reasons below them."""
_NO_LEGEND: Mapping[str, str] = {}
_SIZE = re.compile(r'viewBox="0 0 (\d+) (\d+)"')


def write_svg(drawing: Markup, legend: Mapping[str, str] = _NO_LEGEND, title: str = "") -> str:
    """Returns a drawing of `Frame.svg` as a file; its title, and the names of `legend` by their classes,
    stand above it. Raises ValueError for a drawing without a size."""
    size = _SIZE.search(drawing)
    if not size:
        raise ValueError("a drawing of Frame.svg has its size as viewBox")
    width, height = map(int, size.groups())
    head = [Markup('<text class="title" x="{}" y="18">{}</text>').format(EDGE, visible(title, 90))]
    head = head if title else []
    top = 30 if title else EDGE
    x = float(EDGE)
    for name, colour in legend.items():
        text = visible(name, 60)
        wide = 16 + LETTER * len(text) + 14
        if x > EDGE and x + wide > width:
            x, top = float(EDGE), top + LINE
        mark = '<rect class="{}" x="{:.0f}" y="{}" width="10" height="10" rx="2"/>'
        name_of = '<text x="{:.0f}" y="{}">{}</text>'
        head.append(Markup(mark).format(colour, x, top - 1))
        head.append(Markup(name_of).format(x + 15, top + 8, text))
        x += wide
    top += LINE if legend else 0
    whole = f"0 0 {width + 2 * EDGE} {height + top + EDGE}"
    inner = str(drawing).replace(
        "<svg ", f'<svg x="{EDGE}" y="{top}" width="{width}" height="{height}" ', 1
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="{whole}">\n'
        f'<style>{_style()}</style>\n<rect class="paper" width="100%" height="100%"/>\n'
        f"{Markup('').join(head)}\n{inner}\n</svg>\n"
    )


def draw_bars(data: FunnelData) -> Markup:
    """Returns a bar for each stage of a funnel, and below them one for each reason to set rows aside."""
    stages = [(words(name), count, "s0") for name, count in data.stages]
    reasons = sorted(data.reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    aside = [(words(name), count, "aside") for name, count in reasons]
    body, y = [], 0
    for part in (stages, aside):
        top = max((count for _, count, _ in part), default=0) or 1
        for name, count, colour in part:
            place = Markup('y="{}"').format(y + 13)
            body += [
                Markup('<text x="0" {}>{}</text>').format(place, visible(name, 28)),
                Markup('<rect class="{}" x="{}" y="{}" width="{:.1f}" height="12"/>').format(
                    colour, NAMES, y + 3, (WIDTH - NAMES - COUNTS) * count / top
                ),
                Markup('<text class="end" x="{}" {}>{}</text>').format(WIDTH, place, number(count)),
            ]
            y += LINE
        y += GAP
    mark = '<svg class="chart" viewBox="0 0 {} {}">{}</svg>'
    return Markup(mark).format(WIDTH, max(y - GAP, LINE), Markup("").join(body))


@cache
def _style() -> str:
    """The colours of the page's style sheet, and what it says of drawings."""
    blocks = STYLE.read_text(encoding="utf-8").split("\n\n")
    colours = blocks[0].partition("\n* {")[0]
    drawings = next(block for block in blocks if block.startswith(".chart "))
    own = ".paper { fill: var(--card); } .chart .title { font-size: 14px; fill: var(--ink); }"
    return f"\n{colours}\n{drawings}\n{own}\n"
