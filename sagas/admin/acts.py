"""What an operator may do: one way for all acts, from the choice to the result.

Choose, see what will happen, say why, do, see what was refused. Each act calls the service that
``manage.py`` calls; the service writes the audit row in the transaction of the change.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from sagas.admin.records import ReadOnlyAdmin
from sagas.admin.search import as_uuid
from sagas.orchestration.audited import note_refusal

log = logging.getLogger(__name__)

MOST = 200
"""Rows in one act; more are better narrowed down by a filter."""

UNANSWERED = "its database did not answer; look again, then decide"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One row that an act is meant for, as it stands now."""

    key: str
    mark: str
    """What the operator must have seen: an act on something that has moved on is refused."""
    title: str
    url: str
    preview: tuple[str, ...]
    refusal: str | None
    """Why the act is not possible now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an act ended for one row."""

    title: str
    url: str
    refusal: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Button:
    """An act on the page of one row; with a reason where it cannot be pressed."""

    label: str
    url: str
    refusal: str


class Act(ABC):
    """One thing an operator may do with rows of one table."""

    name: ClassVar[str]
    label: ClassVar[str]
    permission: ClassVar[str]
    target_type: str
    promise: ClassVar[str]
    """One sentence that says what is and what is not guaranteed."""

    @abstractmethod
    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the rows as they stand now; those that are gone are left out."""

    def parts(self, row: Any) -> tuple[str, ...]:
        """Return the parts of a row of which one is to be chosen; none where it is one."""
        return ()

    def audited(self, key: str) -> str:
        """Return the id of the row that a key stands for."""
        return key

    @abstractmethod
    def refusal(self, row: Any) -> str | None:
        """Return why the act is not possible for a row as it stands, without asking further."""

    @abstractmethod
    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Do it, and write the audit row; False when the row was not in a state for it.

        :param seen: the mark that the row had when the operator looked
        """

    def moved_on(self, key: str, seen: str) -> str:
        """Return what is said of a row that has another mark than the operator saw."""
        return "it has moved on since you looked; look again, then decide"


class ReasonForm(forms.Form):
    """Why an act is done."""

    reason = forms.CharField(
        max_length=500,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
        error_messages={"required": "Say why: the next one has to understand it."},
        help_text="Kept in the audit, with your name.",
    )


class ActingAdmin(ReadOnlyAdmin):
    """A read-only screen with acts, on one row or on a selection."""

    acts: ClassVar[tuple[Act, ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        """Add the page on which acts are confirmed and carried out."""
        options = self.opts
        view = self.admin_site.admin_view(self.act_view)
        name = f"{options.app_label}_{options.model_name}_act"
        return [path("act/<slug:name>/", view, name=name), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer the acts that this operator may carry out."""
        offered = {
            act.name: (_on_selection(act), act.name, f"{act.label}…")
            for act in self.acts
            if request.user.has_perm(act.permission)
        }
        return {**super().get_actions(request), **offered}

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> HttpResponse | None:
        """Carry on with the selection, unless what is selected is not even an id."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if any(as_uuid(key) is None for key in selected):
            return HttpResponseBadRequest(render_to_string("400.html"))
        return super().response_action(request, queryset, *args, **options)

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        """Return the acts for the page of one row, each with why it is not possible."""
        found = []
        for act in self.acts:
            may = request.user.has_perm(act.permission)
            url = f"{self._act_url(act)}?id={row.pk}"
            if may and (parts := act.parts(row)):
                found += [
                    Button(label=f"{act.label} {part}…", url=f"{url}:{part}", refusal="")
                    for part in parts
                ]
                continue
            refusal = act.refusal(row) or "" if may else "your account may not do this"
            found.append(Button(label=f"{act.label}…", url=url, refusal=refusal))
        return found

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Put the buttons on the page of one row."""
        obj = kwargs.get("obj")
        buttons = self.buttons(request, obj) if obj is not None else []
        return super().render_change_form(request, {**context, "buttons": buttons}, *args, **kwargs)

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask for the reason, then carry the act out on each row and tell how it went."""
        act = next((act for act in self.acts if act.name == name), None)
        if act is None:
            raise Http404
        if not (request.user.has_perm(act.permission) and self.has_view_permission(request)):
            raise PermissionDenied
        if request.method != "POST":
            return self.confirm(request, act, request.GET.getlist("id"))
        seen = dict(part.split("|", 1) for part in request.POST.getlist("target") if "|" in part)
        form = ReasonForm(request.POST)
        if len(seen) > MOST or not form.is_valid():
            return self.confirm(request, act, list(seen), form)
        by = request.user.get_username()
        outcomes = [
            _carry_out(act, key, mark, by=by, reason=form.cleaned_data["reason"])
            for key, mark in seen.items()
        ]
        return self._page(
            request,
            "admin/sagas/act_result.html",
            act,
            outcomes=outcomes,
            done=sum(outcome.refusal is None for outcome in outcomes),
        )

    def confirm(
        self,
        request: HttpRequest,
        act: Act,
        keys: Sequence[str],
        form: ReasonForm | None = None,
    ) -> HttpResponse:
        """Show what the act would do, and ask why."""
        targets = act.targets(keys[:MOST])
        response = self._page(
            request,
            "admin/sagas/act_confirm.html",
            act,
            targets=targets,
            possible=sum(target.refusal is None for target in targets),
            form=form or ReasonForm(),
            action_url=self._act_url(act),
        )
        response.status_code = 200 if form is None else 422
        return response

    def _page(
        self, request: HttpRequest, template: str, act: Act, **context: Any
    ) -> TemplateResponse:
        options = self.opts
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": f"{act.label}: {options.verbose_name_plural}",
                "opts": options,
                "act": act,
                "list_url": reverse(f"admin:{options.app_label}_{options.model_name}_changelist"),
                **context,
            },
        )

    def _act_url(self, act: Act) -> str:
        options = self.opts
        return reverse(f"admin:{options.app_label}_{options.model_name}_act", args=[act.name])


def _on_selection(act: Act) -> Callable[..., HttpResponse | None]:
    def ask(
        model_admin: ActingAdmin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        keys = [str(key) for key in queryset.values_list("pk", flat=True)[: MOST + 1]]
        if len(keys) > MOST:
            text = f"Choose at most {MOST} rows at once; a filter narrows the list down."
            model_admin.message_user(request, text, messages.WARNING)
            return None
        return model_admin.confirm(request, act, keys)

    return ask


def _carry_out(act: Act, key: str, mark: str, *, by: str, reason: str) -> Outcome:
    target = next(iter(act.targets([key])), None)
    if target is None:
        return Outcome(title=key, url="", refusal="it is gone")
    if target.mark != mark:
        refusal = target.refusal or act.moved_on(key, mark)
        _note_refusal(act, key, by=by, reason=reason)
        return Outcome(title=target.title, url=target.url, refusal=refusal)
    try:
        done = act.carry_out(key, mark, by=by, reason=reason)
    except (OperationalError, InterfaceError) as away:  # the others have databases that answer
        log.warning("act_unanswered", extra={"action": act.name, "error": str(away)})
        _note_refusal(act, key, by=by, reason=reason)
        return Outcome(title=target.title, url=target.url, refusal=UNANSWERED)
    why = None if done else _why_not(act, key, mark) or target.refusal or "somebody was faster"
    return Outcome(title=target.title, url=target.url, refusal=why)


def _why_not(act: Act, key: str, mark: str) -> str | None:
    now = next(iter(act.targets([key])), None)
    if now is None:
        return "it is gone"
    if now.refusal is not None:
        return now.refusal
    return act.moved_on(key, mark) if now.mark != mark else None


def _note_refusal(act: Act, key: str, *, by: str, reason: str) -> None:
    note_refusal(act.name, act.target_type, act.audited(key), by=by, reason=reason)
