"""Amounts in templates: minor units and a currency become what a person reads."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from django import template

register = template.Library()

_SYMBOLS: Final[Mapping[str, str]] = {"GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥"}
_PLACES: Final[Mapping[str, int]] = {"JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3, "TND": 3}
_MINUS: Final = "\N{MINUS SIGN}"
_SPACE: Final = "\N{NO-BREAK SPACE}"


@register.filter
def money(amount: int | Decimal, currency: str) -> str:
    """Return an amount of minor units as text: 4200 and GBP are £42.00.

    A unit price may be finer than the minor unit; its digits are shown, not rounded away.
    """
    places = _PLACES.get(currency, 2)
    value = Decimal(amount).scaleb(-places)
    finer = -int(value.normalize().as_tuple().exponent)
    number = f"{abs(value):,.{max(places, finer)}f}"
    symbol = _SYMBOLS.get(currency, f"{currency}{_SPACE}")
    return f"{_MINUS if value < 0 else ''}{symbol}{number}"
