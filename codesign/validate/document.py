"""VALIDATION.md: all comparisons as Markdown, with figures beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codesign.output_files import write_files
from codesign.validate import load
from codesign.validate.row import Row, Span, Value, Verdict

HEAD = """\
# Validation

What the simulator says beside what others say: other simulators, the reference RTL, bounds that no machine can beat,
published measurements, synthesis. `codesign validate` runs every comparison and writes this file.

- **holds**: must hold, and does. **FAILS**: must hold, and does not; the command then ends with status 1.
- **agrees**: an estimated interval holds what was measured.
- **explained**: need not agree, because the two are not the same thing, or not known to be; text or note say why.
- **skipped**: a tool is missing.
"""

VALUE_COLUMNS = ("reference", "ours", "difference")


def write(path: Path, found: Mapping[str, Sequence[Row]]) -> None:
    """Write the document and its figures. Raises ExportError."""
    figures = {}
    sections = [HEAD, _summary(found)]
    for name, rows in found.items():
        comparison = load(name)
        sections.append(f"## {comparison.title}\n\n{comparison.text}")
        if comparison.figure and all(row.verdict is not Verdict.SKIPPED for row in rows):
            figure = f"{path.stem}-{name}.svg"
            figures[figure] = comparison.figure(rows)
            sections.append(f"![{comparison.title}]({figure})\n")
        sections.append(_table(rows))
    write_files(path.parent, figures | {path.name: "\n".join(sections)})


def value_text(value: Value | None, unit: str) -> str:
    """A value with its unit; integers in full."""
    if value is None:
        return ""
    if isinstance(value, Span) and value.low != value.high:
        return f"{value_text(value.low, '')} to {value_text(value.high, unit)}"
    amount = value.low if isinstance(value, Span) else value
    number = f"{amount:,.0f}" if isinstance(amount, int) or amount >= 1000 else f"{amount:.4g}"
    return number + unit if unit in ("x", "%", "") else f"{number} {unit}"


def difference_text(row: Row) -> str:
    """Zero, per cent, or within a span."""
    if row.difference is None:
        return ""
    if not row.difference and Span in (type(row.ours), type(row.reference)):
        return "within"
    return f"{row.difference:+.2%}" if row.difference else "0"


def cells(row: Row) -> tuple[str, ...]:
    """A row as the table shows it: what, source, reference, ours, difference, verdict, note."""
    values = (value_text(value, row.unit) for value in (row.reference, row.ours))
    verdict = (
        (f"{row.verdict}: {row.note}", "") if row.verdict is Verdict.SKIPPED else (row.verdict, row.note)
    )
    return (row.what, row.source, *values, difference_text(row), *verdict)


def _summary(found: Mapping[str, Sequence[Row]]) -> str:
    verdicts = tuple(Verdict)
    lines = [_line(("comparison", "rows", *verdicts)), _line(("---", *["--:"] * (1 + len(verdicts))))]
    for name, rows in found.items():
        counts = [sum(row.verdict is verdict for row in rows) for verdict in verdicts]
        lines.append(_line((load(name).title, str(len(rows)), *(str(count or "") for count in counts))))
    return "\n".join([*lines, ""])


def _table(rows: Sequence[Row]) -> str:
    return "\n".join([*_table_lines(rows), ""])


def _table_lines(rows: Sequence[Row]) -> Iterator[str]:
    yield _line(("what", "against", *VALUE_COLUMNS, "verdict", "note"))
    yield _line(("---", "---", *["--:"] * len(VALUE_COLUMNS), "---", "---"))
    yield from (_line(cells(row)) for row in rows)


def _line(texts: Sequence[str]) -> str:
    escaped = (text.replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"
