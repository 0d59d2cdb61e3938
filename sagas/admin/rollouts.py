"""What share of the starts a new version takes: the one edit that turns a release round."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from sagas.admin.edits import EditableAdmin
from sagas.models import Rollout, SagaInstance


@admin.register(Rollout)
class RolloutAdmin(EditableAdmin):
    """Versions that have one before them."""

    list_display = ("name", "version", "percent", "living")
    list_display_links = ("name", "version")
    ordering = ("name", "-version")
    shown = ("name", "version", "living")
    editable = ("percent",)

    @admin.display(description="living instances")
    def living(self, rollout: Rollout) -> int:
        """Show how many instances of this version have not ended."""
        mine = SagaInstance.objects.filter(name=rollout.name, def_version=rollout.version)
        return mine.filter(finished_at=None).count()

    def headline(self, request: HttpRequest) -> Any:
        """Say what an edit does and what it does not."""
        return "The share counts for what begins from now on; what lives ends on its version."
