"""The bodies of the views, and which parts of them belong into a database."""

import re
from pathlib import Path
from typing import Final

from django.conf import settings

from sagas.transactions import alias_of

SQL: Final = Path(__file__).parent / "sql"
_BORDER: Final = re.compile(r"^UNION ALL$", re.MULTILINE)


def view_names() -> list[str]:
    """Return the names of all views, without the schema."""
    return sorted(file.stem for file in SQL.glob("v_*.sql"))


def comment_of(name: str) -> str:
    """Return what a view says of itself."""
    return (SQL / f"{name}.sql").read_text().partition("\n")[0].removeprefix("-- ")


def body_of(name: str) -> str:
    """Return the whole query of a view."""
    return (SQL / f"{name}.sql").read_text().partition("\n")[2]


def is_derived(name: str) -> bool:
    """Return whether a view is made of other views, and so perhaps of several databases."""
    return "audit." in body_of(name)


def body_in(name: str, alias: str) -> str | None:
    """Return the query of a view as far as its tables are in a database; None if none is."""
    if is_derived(name):
        named = re.findall(r"\baudit\.(v_\w+)", body_of(name))
        return body_of(name) if all(body_in(view, alias) for view in named) else None
    parts = [part for part in _BORDER.split(body_of(name)) if _is_in(part, alias)]
    return "UNION ALL".join(parts) or None


def _is_in(part: str, alias: str) -> bool:
    schemas = {schema: label for label, schema in settings.SCHEMAS.items()}
    named = re.findall(rf"\b({'|'.join(schemas)})\.\w", part)
    return all(alias_of(schemas[schema]) == alias for schema in named)
