"""HTML as values: every string is escaped on its way in, unless it is markup already."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

VOID = {"br", "img", "link", "meta"}
THIN = "\u202f"  # narrow no-break space, between a number and its %


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """`tag("td", "a < b", cls="num")` -> `<td class="num">a &lt; b</td>`.

    Args:
        children: markup, plain values (escaped), None (left out), or iterables of these.
        attributes: `cls` stands for `class`, `_` for `-`; None and False are left out, True has
            no value.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{name}{shown}>" + ("" if name in VOID else f"{join(*children)}</{name}>"))


def join(*parts: object) -> Html:
    """Parts side by side, each escaped as `tag` does."""
    return Html("".join(map(_text, parts)))


def _text(part: object) -> str:
    if part is None or isinstance(part, Html):
        return part or ""
    if isinstance(part, str) or not isinstance(part, Iterable):
        return html.escape(str(part))
    return join(*part)


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = {"cls": "class"}.get(key, key.replace("_", "-"))
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def table(head: Sequence[object], rows: Iterable[Sequence[object]], left: int = 1) -> Html:
    """A table that scrolls sideways on narrow screens.

    Args:
        left: so many columns hold text; those after hold numbers and stand on the right.
    """
    return tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", _cells("th", head, left))),
            tag("tbody", (tag("tr", _cells("td", row, left)) for row in rows)),
        ),
        cls="scroll",
    )


def _cells(name: str, values: Sequence[object], left: int) -> list[Html]:
    return [tag(name, value, cls=None if i < left else "num") for i, value in enumerate(values)]


def fold(summary: object, *children: object) -> Html:
    """What a reader opens when they want it."""
    return tag("details", tag("summary", summary), children)


def section(name: str, title: str, *children: object) -> Html:
    """A part of the page that links can name."""
    return tag("section", tag("h2", title), children, id=name)


def percent(share: float, digits: int = 1) -> str:
    """`0.834` -> `83.4 %`; a dash where there is nothing to take a share of."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}{THIN}%"


def between(low: float, high: float) -> str:
    """An interval of shares, `77.6–87.7 %`."""
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
