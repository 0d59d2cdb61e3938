"""Accounts: administrators keep them, without being able to make themselves more than they are."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest

from sagas.admin.display import NOTHING

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin

FOR_SUPERUSERS = ("is_superuser", "user_permissions")


class AccountAdmin(_UserAdmin):
    """Django's screen of users; what an account may do comes from its groups."""

    list_display = ("username", "email", "is_staff", "is_active", "roles", "last_login")
    list_filter = ("is_staff", "is_active", "groups")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read the groups of all listed users at once."""
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Let only superusers give rights that are not a group's."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *FOR_SUPERUSERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Keep a superuser's account, and its password, from everybody but superusers."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Accounts are made inactive: the audit and the orders name them."""
        return False

    @admin.display(description="groups")
    def roles(self, user: User) -> str:
        """Show the groups."""
        return ", ".join(group.name for group in user.groups.all()) or NOTHING


admin.site.unregister(User)
admin.site.register(User, AccountAdmin)
