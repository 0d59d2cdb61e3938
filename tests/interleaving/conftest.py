"""Actors and nature for the schedules of a module; both are kept between its schedules."""

import logging

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, connections

from orders.models import Customer
from sagas import tasks  # noqa: F401 - registers them
from sagas.orchestration import requests
from sagas.outbox import relay, subscriptions
from tests.databases import database_of
from tests.integration.sagas import trial
from tests.interleaving import journeys
from tests.interleaving import nature as natural
from tests.interleaving.apart import CONTEXTS, Apart, JourneysApart, TurnsApart
from tests.interleaving.operated import (
    Operated,
    OperatedApart,
    OperatedGroupFirst,
    OperatedGroupFirstApart,
    OperatedJourneys,
    OperatedJourneysApart,
    OperatedSenders,
    OperatedTrios,
    OperatedTurns,
)
from tests.interleaving.scheduler import Scheduler
from tests.interleaving.stories import Both, Events, GroupFirst, Journeys, Sagas, Senders, Trios
from tests.interleaving.turns import Turns
from tests.interleaving.world import World

OFTEN = 200
STORIES = (
    *(Sagas, Journeys, Events, GroupFirst, Apart, Turns),
    *(Both, Senders, Journeys, TurnsApart, Sagas, JourneysApart),
    *(Operated, OperatedJourneys, OperatedGroupFirst, OperatedSenders, OperatedTurns),
    *(OperatedApart, OperatedGroupFirstApart, OperatedJourneysApart),
    *(Trios, Trios, OperatedTrios),
)


class Stage:
    """Where schedules are carried out, one after the other."""

    def __init__(self, actors, nature):
        self.actors = actors
        self.nature = nature
        emptied = [*filter(None, map(_emptied, apps.get_models(include_auto_created=True)))]
        self.tables = {alias: ["public.trial_effect"] for alias in actors.sessions.connections}
        for name in emptied:
            self.tables[database_of(name).alias].append(name)
        self.played = 0
        self.databases = settings.CONTEXT_DATABASES

    def play(self, seed, story=None):
        """Carry out the schedule of a seed and return the verdict."""
        story = story or STORIES[seed % len(STORIES)]()
        self.clear()
        self.nature.reset(seed)
        return World(self.actors, self.nature, seed, story).run()

    def clear(self):
        for alias, tables in self.tables.items():
            if self.played % OFTEN == 0:
                sql = f"TRUNCATE {', '.join(tables)} CASCADE"
            else:
                sql = "; ".join(f"DELETE FROM {name}" for name in tables)
            # As a replica, so that rules against deletion keep still.
            self.actors.sessions.script(f"SET session_replication_role = replica; {sql}", alias)
        self.played += 1
        settings.CONTEXT_DATABASES = self.databases


def _emptied(model):
    """Return the table of what the engine keeps, in its own schema or a context's."""
    engine = any(base.__module__.startswith("sagas.") for base in model.__mro__)
    return model._meta.db_table if engine or model is Customer else None


@pytest.fixture(scope="module")
def stage(database_as_migrated, django_db_blocker):
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        database_as_migrated.restore()
        journeys.register()
        trial.table_of_effects()
        patch.setattr(relay, "SPARED", 0.0)  # no schedule waits for half a second
        actors = Scheduler(trial.databases())
        # What every schedule provokes would bury what the failing one prints.
        logging.disable(logging.CRITICAL)
        patch.setattr(subscriptions, "SUBSCRIPTIONS", {})
        patch.setattr(settings, "CONTEXT_DATABASES", settings.CONTEXT_DATABASES)
        requests.listen()  # the engine, where the whole suite has detached contexts
        for context in set(CONTEXTS) - {*connections}:
            patch.setitem(connections.settings, context, dict(connection.settings_dict))
        try:
            nature = natural.Nature(actors.sessions)
            natural.inject(patch, nature)
            yield Stage(actors, nature)
        finally:
            logging.disable(logging.NOTSET)
            natural.put_back()
            actors.sessions.everywhere("DROP SCHEMA interleaving CASCADE")
            actors.close()
            connections.close_all()
            database_as_migrated.restore()
