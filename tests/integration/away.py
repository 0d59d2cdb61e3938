"""Contexts in databases of their own, of which one is away or hangs.

Where the suite has one database, each context has its own connection to it.
"""

import os
import signal

import pytest
from django.db import connection, connections

from sagas.transactions import connection_of

CONTEXTS = ("orders", "billing", "payments")


@pytest.fixture
def detached(settings, monkeypatch):
    if not settings.CONTEXT_DATABASES:
        for context in CONTEXTS:
            monkeypatch.setitem(connections.settings, context, dict(connection.settings_dict))
        settings.CONTEXT_DATABASES = {context: context for context in CONTEXTS}
    yield
    for context in CONTEXTS:
        connections[context].close()


@pytest.fixture
def gone():
    """Let nobody reach the database of a context any more."""
    with pytest.MonkeyPatch.context() as patch:

        def take_away(context):
            lost = connection_of(context)
            lost.close()
            patch.setitem(lost.settings_dict, "HOST", "/nowhere")

        yield take_away


@pytest.fixture
def frozen():
    """Let the server no longer answer the connection of a context, which stays open."""
    stopped = []

    def freeze(context):
        with connection_of(context).cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [(pid,)] = cursor.fetchall()
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield freeze
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
