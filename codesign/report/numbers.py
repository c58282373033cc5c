"""Numbers as people read them."""

from __future__ import annotations

from codesign.energy.ranges import Range

JOULE_UNITS = {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6, "nJ": 1e-9}


def short(number: float) -> str:
    """Three digits, without an exponent for large numbers."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def span(value: Range) -> str:
    """The ends of a range."""
    return f"{short(value.low)} to {short(value.high)}"


def joule_unit(joules: float) -> tuple[str, float]:
    """The unit in which an energy is at least one, and its size in joules."""
    return next(((unit, size) for unit, size in JOULE_UNITS.items() if joules >= size), ("nJ", 1e-9))


def interval(low: float, high: float) -> str:
    """Amounts from low to high, one number if they are equal, nothing if there is none."""
    first, last = (f"{amount:,}".removesuffix(".0") for amount in (low, high))
    return "" if not high else first if first == last else f"{first} to {last}"


def byte_text(number: float) -> str:
    """An amount of memory or traffic."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(number) >= size:
            return f"{number / size:,.4g} {unit}"
    return f"{number:,.0f} B"


def compact(number: float) -> str:
    """A count with a suffix for millions and more: 228,947,963 is 228.9 M."""
    for size, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(number) >= size:
            return f"{number / size:,.4g}{suffix}"
    return f"{number:,.0f}"


def reached(
    train_loss: float | None, validation_loss: float | None, validation_accuracy: float | None
) -> str:
    """What a training run has reached, as far as it was evaluated."""
    figures = (
        ("training loss", train_loss, ".4f"),
        ("validation loss", validation_loss, ".4f"),
        ("validation accuracy", validation_accuracy, ".2%"),
    )
    known = [f"{name} {value:{form}}" for name, value, form in figures if value is not None]
    return ", ".join(known) or "not evaluated yet"
