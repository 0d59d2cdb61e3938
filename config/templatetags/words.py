"""Names in templates."""

from django import template

register = template.Library()


@register.filter
def calm(name: str) -> str:
    """Return a name without shouting: catalogues of wholesalers are all capitals."""
    return name.capitalize() if name.isupper() else name
