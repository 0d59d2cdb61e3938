"""The ground of every screen: rows are looked at, never added, edited or deleted."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from sagas.admin.paging import BoundedPaginator

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline


class _ReadOnly:
    """Answers no to every wish to change something, whoever asks."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are written by the product alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are changed by the product alone."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are deleted by the product alone."""
        return False


class ReadOnlyAdmin(_ReadOnly, ModelAdmin):
    """A list and a page for each row, made for tables that are large."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    change_list_template = "admin/sagas/list.html"
    change_form_template = "admin/sagas/record.html"

    def headline(self, request: HttpRequest) -> str:
        """Return what stands above the list; nothing unless a screen has something to say."""
        return ""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list below its headline."""
        headline = self.headline(request) if self.has_view_permission(request) else ""
        title = capfirst(self.opts.verbose_name_plural)
        context = {"headline": headline, "title": title, **(extra_context or {})}
        return super().changelist_view(request, context)


class ReadOnlyInline(_ReadOnly, TabularInline):
    """Rows that belong to the row of the page."""

    extra = 0
    can_delete = False
    show_change_link = False
    classes = ("records",)
