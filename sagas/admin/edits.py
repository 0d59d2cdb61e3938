"""The few rows that administrators may edit, each edit with a reason and an audit row."""

from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect

from sagas.admin.records import ReadOnlyAdmin
from sagas.models import OperatorAction
from sagas.transactions import transaction


class EditForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form that also asks why."""

    reason = forms.CharField(
        max_length=500,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
        error_messages={"required": "Say why: the next one has to understand it."},
        help_text="Kept in the audit, with your name.",
    )


class EditableAdmin(ReadOnlyAdmin):
    """A screen on which administrators may edit some columns; nothing is added or deleted."""

    form = EditForm
    editable: ClassVar[tuple[str, ...]] = ()
    """Columns that administrators may change."""
    shown: ClassVar[tuple[Any, ...]] = ()
    """What else the page shows."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Follow Django's permission, which the group of administrators has."""
        options = self.opts
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """Ask for a reason where something may be changed."""
        asked = ("reason",) if self.has_change_permission(request) else ()
        return (*self.shown, *self.editable, *asked)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """Show the other columns as they are."""
        return self.shown

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Do what Django's own does, without the transaction that it opens around a POST.

        Inside that one ``save_model`` could open none of its own, and the sign-in, the session
        and Django's log are not of this context.
        """
        response: HttpResponse = self._changeform_view(  # type: ignore[attr-defined]  # private
            request, object_id, form_url, extra_context
        )
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write the changed columns and the audit row in one transaction of the context."""
        changed = {name: getattr(obj, name) for name in self.editable if name in form.changed_data}
        if not changed:
            return
        options = self.opts
        what = ", ".join(
            f"{name} from {form.initial.get(name)!s} to {value!s}"
            for name, value in changed.items()
        )
        with transaction(options.app_label):
            saved = self.model._default_manager.filter(pk=obj.pk).update(**changed)
            OperatorAction.objects.create(
                action="edit",
                target_type=str(options.verbose_name),
                target_id=str(obj.pk),
                by=request.user.get_username(),
                reason=f"{form.cleaned_data['reason']} ({what})",
                outcome="done" if saved else "refused",
            )
