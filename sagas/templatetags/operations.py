"""Template tags of the operators' screens."""

from datetime import datetime
from typing import Any

from django import template

from sagas.admin import display
from sagas.durations import duration

register = template.Library()

register.filter("chip", display.chip)
register.filter("when", display.when)
register.filter("age", display.age)
register.filter("short", display.short)


@register.filter
def find_url(text: object) -> str:
    """Return the address that jumps to whatever has this id."""
    return display.find_url(text)


@register.filter
def event_url(event: Any) -> str:
    """Return the page of an outbox row, wherever it was written."""
    from django.urls import reverse

    return reverse(f"admin:{event.context}_outbox_change", args=[event.row.pk])


@register.filter
def since(end: datetime, start: datetime) -> str:
    """Return the time between two instants."""
    return duration(end - start)
