"""What a message says to a task of the engine, looked at before the task begins.

A task would end with an error on a saga that is no id, or on a context that nobody has; the
message would be gone by then.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore

from sagas.contexts import contexts
from sagas.transactions import ENGINE
from sagas.unreadable import Found, keep


class EngineTask(Task[Any, Any]):
    """A task that is begun only for arguments it can do something with."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Keep a message with wrong arguments for a person, and go no further.

        :raises Ignore: if they are wrong; nothing of a chain follows
        """
        wrong = wrong_of(self.run, args, kwargs)
        if wrong is None:
            return
        content = json.dumps([args, kwargs], default=repr).encode()
        where = (self.request.delivery_info or {}).get("routing_key") or ""
        headers = {"task": self.name, "id": task_id}
        found = Found(queue=where, body=content, content_type="application/json", headers=headers)
        keep(found, f"{self.name}: {wrong}")
        raise Ignore


def wrong_of(run: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
    """Return what is wrong with the arguments of a task; None if nothing is."""
    try:
        given = inspect.signature(run).bind(*args, **kwargs).arguments
    except TypeError as unfit:
        return f"its arguments do not fit: {unfit}"
    for name, found in given.items():
        said, is_right = _RIGHT[name]
        if not is_right(found):
            return f"its {name} {_quoted(found)} is no {said}"
    return None


def _quoted(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _is_id(found: Any) -> bool:
    try:
        return isinstance(found, str) and str(UUID(found)) == found.lower()
    except ValueError:
        return False


def _are_ids(found: Any) -> bool:
    return isinstance(found, list | tuple) and all(map(_is_id, found))


def _is_number(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


_RIGHT: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "saga_id": ("id", _is_id),
    "event_ids": ("list of ids", _are_ids),
    "producer": ("context of this release", lambda found: found in contexts()),
    "consumer": ("context of this release", lambda found: found in (*contexts(), ENGINE)),
    "context": ("context of this release", lambda found: found in ("", *contexts())),
    "low": ("number of a step", _is_number),
    "high": ("number of a step", _is_number),
    "step_no": ("number of a step", _is_number),
    "swept": ("yes or no", lambda found: isinstance(found, bool)),
    "of": ("text", lambda found: isinstance(found, str)),
}
