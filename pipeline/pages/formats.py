"""Numbers, names and rows as text: for the page, where they are filters, for its drawings, and for
a terminal."""

import math
from collections.abc import Sequence

THIN = "\u202f"  # narrow no-break space, between a number and its %


def percent(share: float, digits: int = 1) -> str:
    """`0.834` -> `83.4 %`; a dash where there is nothing to take a share of."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}{THIN}%"


def between(interval: tuple[float, float]) -> str:
    """An interval of shares, `77.6–87.7 %`."""
    low, high = interval
    return "–" if math.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}{THIN}%"


def points(change: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * change:+.1f}".replace("-", "−")


def listed(names: Sequence[str], letters: int = 60) -> str:
    """`a, b, c`, or as many of them as fit and how many more there are."""
    shown = [short(names[0], letters)]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > letters:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


def short(text: str, most: int) -> str:
    """`text` cut to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def counted(number: int, noun: str) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def weights(number: int) -> str:
    """`18 k weights`, `11.2 M weights`."""
    return (f"{number / 1e3:,.0f} k" if number < 1e6 else f"{number / 1e6:,.1f} M") + " weights"


def short_number(number: float) -> str:
    """`500`, `20 k`, `1.5 M`."""
    if number < 1e3:
        return f"{number:g}"
    return f"{number / 1e3:g} k" if number < 1e6 else f"{number / 1e6:g} M"


FILTERS = {f.__name__: f for f in (percent, between, points, listed, short, counted)}


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell, a rule under the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
