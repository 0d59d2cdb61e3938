"""Messages that nobody can read, found and kept."""

import pytest

from sagas import unreadable
from sagas.models import UnreadableMessage
from sagas.unreadable import Found


@pytest.fixture
def nobody_has_knocked(monkeypatch):
    """No database was away just now."""
    monkeypatch.setattr(unreadable._Knocking, "after", 0.0)


def found(body=b"{not json", **facts):
    return Found(**{"queue": "steps", "body": body, **facts})


def kept():
    return UnreadableMessage.objects.order_by("id")
