"""Paging through tables that grow without end."""

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MOST = 10_000


class BoundedPaginator(_Paginator):
    """Counts up to a bound: an exact count of a large table reads all of it, for every page."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or the bound if there are more."""
        rows: Any = self.object_list
        counted: int = rows.order_by()[:MOST].count()
        return counted
