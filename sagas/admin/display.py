"""How the screens write chips, times, amounts and links."""

import json
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify

from sagas import clock
from sagas.durations import relative as relative  # noqa: PLC0414 - contexts take it from here

NOTHING = "—"

# Status is never told by color alone: each word has a sign of its own.
SIGNS = {
    "running": "▶",
    "retrying": "↻",
    "waiting": "◷",
    "compensating": "↩",
    "parked": "‖",
    "completed": "✓",
    "compensated": "⟲",
    "closed": "■",
    "catching up": "↻",
    "caught up": "✓",
    "done": "✓",
    "intended": "…",
    "rejected": "⊘",
    "fault": "✕",
    "unknown": "?",
    "postponed": "◷",
    "canceled": "⟲",
    "nothing": "○",
    "skipped": "⤼",
    "not yet": "·",
    "unsent": "◔",
    "published": "➜",
    "settled": "✓",
    "resolved": "✓",
    "discarded": "✓",
    "waits for an operator": "‖",
    "refused": "⊘",
    "pending": "▶",
    "confirmed": "✓",
    "failed": "✕",
    "open": "◔",
    "created": "◔",
    "authorized": "◑",
    "captured": "✓",
    "voided": "⟲",
    "sent": "➜",
    "succeeded": "✓",
    "declined": "⊘",
    "recorded": "✓",
    "ignored": "○",
    "held": "◑",
    "committed": "✓",
    "released": "⟲",
    "granted": "✓",
    "withdrawn": "⟲",
}

# Of ISO 4217, the currencies whose minor unit is not a hundredth.
EXPONENTS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def chip(word: str, text: str | None = None) -> SafeString:
    """Return a status as a sign and a word."""
    return format_html(
        '<span class="chip chip-{}"><span class="chip-sign" aria-hidden="true">{}</span>{}</span>',
        slugify(word),
        SIGNS.get(word, "•"),
        text or word,
    )


def absolute(at: datetime) -> str:
    """Return an instant in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def when(at: datetime | None) -> SafeString | str:
    """Return an instant, absolute in UTC and relative."""
    if at is None:
        return NOTHING
    return format_html(
        '<time datetime="{}">{}</time> <span class="quiet">({})</span>',
        at.isoformat(),
        absolute(at),
        relative(at, clock.real()),
    )


def instant(column: str, description: str = "") -> Any:
    """Return what a screen names among its fields to show a column that holds an instant."""

    @admin.display(description=description or column.replace("_", " "), ordering=column)
    def show(row: Any) -> str:
        return when(getattr(row, column))

    show.__name__ = column
    return show


def age(at: datetime | None, now: datetime | None = None) -> SafeString | str:
    """Return how long ago an instant was, with the instant itself to hover over."""
    if at is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        absolute(at),
        relative(at, now or clock.real()),
    )


def plain_money(minor: int, currency: str) -> str:
    """Return an amount of minor units with the currency's own number of decimals."""
    exponent = EXPONENTS.get(currency, 2)
    sign = "-" if minor < 0 else ""
    whole, rest = divmod(abs(minor), 10**exponent)
    decimals = f".{rest:0{exponent}}" if exponent else ""
    return f"{sign}{whole:,}{decimals} {currency}"


def money(minor: int, currency: str) -> SafeString:
    """Return an amount, with its minor units to hover over."""
    return format_html(
        '<span class="money" title="{} minor units">{}</span>', minor, plain_money(minor, currency)
    )


def link(url: str, text: object) -> SafeString:
    """Return a link."""
    return format_html('<a href="{}">{}</a>', url, text)


def link_to(name: str, key: object, text: object | None = None) -> SafeString | str:
    """Return a link to the admin page of a row, by the name of its URL."""
    if key is None:
        return NOTHING
    return link(reverse(f"admin:{name}_change", args=[key]), key if text is None else text)


def list_of(name: str, query: str) -> str:
    """Return the address of an admin list, filtered."""
    return f"{reverse(f'admin:{name}_changelist')}?{query}"


def find_url(text: object) -> str:
    """Return the address that jumps to whatever has this id."""
    return f"{reverse('admin:find')}?q={text}"


def code(text: object) -> SafeString | str:
    """Return an id or key in type of one width."""
    return format_html("<code>{}</code>", text) if text else NOTHING


def short(key: object) -> SafeString | str:
    """Return an id by its two ends, with all of it to hover over; other keys whole."""
    text = str(key)
    if len(text) != 36:
        return code(text)
    return format_html('<code title="{}">{}…{}</code>', text, text[:8], text[-6:])


def shortened(text: str, most: int = 70) -> SafeString | str:
    """Return the beginning of a long text, with all of it to hover over."""
    if len(text) <= most:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[:most].rstrip())


def pretty_json(value: Any) -> str:
    """Return JSON as people read it."""
    return json.dumps(value, indent=2, sort_keys=True, default=str, ensure_ascii=False)


def json_block(value: Any) -> SafeString:
    """Return JSON in a block of its own."""
    return format_html('<pre class="block">{}</pre>', pretty_json(value))


def folded(summary: str, text: str) -> SafeString | str:
    """Return a long text behind a line that opens it."""
    if not text:
        return NOTHING
    return format_html(
        '<details><summary>{}</summary><pre class="block">{}</pre></details>', summary, text
    )
