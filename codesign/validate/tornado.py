"""A tornado chart as SVG: how far each constant moves a result, the one that moves it most on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from codesign.validate.row import Row

WIDTH, LEFT, RIGHT, TOP, LINE, BAR, GAP = 760, 210, 80, 64, 20, 14, 12
COLORS = ("#3b6fb6", "#d9822b")
STYLE = "text{font:13px sans-serif;fill:#222}.end{text-anchor:end}.middle{text-anchor:middle}"


def tornado(rows: Sequence[Row]) -> str:
    """Rows in pairs, a constant at its low and at its high value; `reference` is the same for all."""
    pairs = sorted(zip(rows[::2], rows[1::2], strict=True), key=_swing, reverse=True)
    nominal = _number(rows[0].reference)
    results = [nominal, *(_number(row.ours) for row in rows)]
    low, width = min(results), max(results) - min(results)
    scale = (WIDTH - LEFT - RIGHT) / (width or 1)
    middle = LEFT + (nominal - low) * scale
    height = TOP + (2 * LINE + GAP) * len(pairs)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{WIDTH / 2:.0f}" y="24" class="middle">Speedup with one constant at half (blue) or double (orange)'
        "</text>",
        f'<text x="{middle:.1f}" y="{TOP - 12}" class="middle">{nominal:.3f}{rows[0].unit}</text>',
    ]
    for number, pair in enumerate(pairs):
        for row, color, y in zip(pair, COLORS, (0, LINE), strict=True):
            end = LEFT + (_number(row.ours) - low) * scale
            lines += _bar(row, color, TOP + (2 * LINE + GAP) * number + y, middle, end)
    return "\n".join(
        [*lines, f'<path d="M{middle:.1f} {TOP - 6}V{height - GAP}" stroke="#222"/>', "</svg>\n"]
    )


def _bar(row: Row, color: str, y: int, middle: float, end: float) -> Iterator[str]:
    """Its name on the left, its result on the right, between them a bar from the nominal result."""
    x, width, text_y = min(middle, end), abs(end - middle), y + BAR - 3
    yield f'<text x="{LEFT - 12}" y="{text_y}" class="end">{escape(row.what)}</text>'
    yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>'
    yield f'<text x="{WIDTH - 12}" y="{text_y}" class="end">{_number(row.ours):.3f}{row.unit}</text>'


def _swing(pair: tuple[Row, Row]) -> float:
    return max(abs(_number(row.ours) - _number(row.reference)) for row in pair)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
