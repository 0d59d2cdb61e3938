"""Lists in pages that do not shift: each says after which row it goes on."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Schema
from pydantic import StringConstraints


class PageIn(Schema):
    """Which rows are asked for."""

    limit: int = Field(50, ge=1, le=200)
    after: UUID | None = Field(None, description="The last row of the page before.")


class BoardIn(PageIn):
    """Which orders are asked for."""

    awaited: Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")] = Field(
        "", description="What a cancel answered in `Awaited`; until then the order is updating."
    )


class CatalogueIn(Schema):
    """Which products are asked for."""

    limit: int = Field(50, ge=1, le=200)
    after: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] = Field(
        "", description="The slug of the last product of the page before."
    )
    search: Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")] = Field(
        "", description="A part of the name."
    )


def next_page(request: HttpRequest, found: Sequence[str], limit: int) -> str | None:
    """Return where a list goes on, or None.

    :param found: the keys of one row more than was asked for, if there are as many
    """
    if len(found) <= limit:
        return None
    asked = {name: value for name, value in request.GET.items() if name != "after"}
    return f"{request.path}?{urlencode({**asked, 'after': found[limit - 1]})}"
