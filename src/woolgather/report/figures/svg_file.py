"""A drawing of a page as an SVG file of its own, with its colours and its legend.

The one idea: a page has style and legend beside its drawings; a file has to bring both along.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from markupsafe import Markup

from woolgather.report.charts import COLOURS
from woolgather.report.frame import HEIGHT, WIDTH
from woolgather.report.text import visible

STYLE = Path(__file__).parents[1] / "style.css"
LINE = 18
"""Height of a line of the legend."""
LETTER = 6.2
"""Width of a letter of the legend, about."""
EDGE = 12


def write_svg(drawing: Markup, legend: Sequence[str] = (), title: str = "") -> str:
    """Returns a drawing of `Frame.svg`, of the usual size, as a file; its title and legend stand above
    it."""
    head = [Markup('<text class="title" x="{}" y="18">{}</text>').format(EDGE, visible(title, 90))]
    head = head if title else []
    top = 30 if title else EDGE
    x = float(EDGE)
    for i, name in enumerate(legend):
        text = visible(name, 60)
        width = 16 + LETTER * len(text) + 14
        if x > EDGE and x + width > WIDTH:
            x, top = float(EDGE), top + LINE
        mark = '<rect class="s{}" x="{:.0f}" y="{}" width="10" height="10" rx="2"/>'
        name_of = '<text x="{:.0f}" y="{}">{}</text>'
        head.append(Markup(mark).format(i % COLOURS, x, top - 1))
        head.append(Markup(name_of).format(x + 15, top + 8, text))
        x += width
    top += LINE if legend else 0
    size = f"0 0 {WIDTH + 2 * EDGE} {HEIGHT + top + EDGE}"
    inner = str(drawing).replace(
        "<svg ", f'<svg x="{EDGE}" y="{top}" width="{WIDTH}" height="{HEIGHT}" ', 1
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="{size}">\n'
        f'<style>{_style()}</style>\n<rect class="paper" width="100%" height="100%"/>\n'
        f"{Markup('').join(head)}\n{inner}\n</svg>\n"
    )


@cache
def _style() -> str:
    """The colours of the page's style sheet, and what it says of drawings."""
    blocks = STYLE.read_text(encoding="utf-8").split("\n\n")
    colours = blocks[0].partition("\n* {")[0]
    drawings = next(block for block in blocks if block.startswith(".chart "))
    own = ".paper { fill: var(--card); } .chart .title { font-size: 14px; fill: var(--ink); }"
    return f"\n{colours}\n{drawings}\n{own}\n"
