"""Threads of which one runs at a time: who, is decided at every statement, commit and publish.

An actor is a thread with connections of its own, kept between schedules. It stops at each point
and gives the baton back. One that does not come to its next point is asked about in PostgreSQL:
when it waits for a lock (``pg_blocking_pids``) it is set aside, as PostgreSQL's own isolation
tester does, and another one goes on. So a schedule is the list of its decisions and nothing else,
and the same decisions are the same schedule.
"""

import _thread
import contextlib
import threading
import traceback

import psycopg
from django.db import OperationalError, connections
from psycopg.pq import TransactionStatus

from tests.databases import database_of

PATIENCE = 30.0
GLANCE = 0.004
_here = threading.local()


class Killed(BaseException):
    """This process is dead: it is unwound, and no statement of it reaches the database."""


class Actor:
    """A process of the world: a worker, a beat, a customer."""

    def __init__(self, name):
        self.name = name
        self.turn = _thread.allocate_lock()
        self.turn.acquire()
        self.came = _thread.allocate_lock()
        self.came.acquire()
        self.job = None
        self.at = "idle"
        self.blocked = False
        self.dies = False
        self.dead = False
        self.loses = None
        self.fault = None
        self.pids = set()
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)
        self.thread.start()

    @property
    def busy(self):
        return self.job is not None

    def begin(self, job, label):
        """Be given work; nothing runs before the first turn."""
        self.job, self.at = job, label
        self.blocked = self.dies = self.dead = False
        self.loses = self.fault = None

    def _live(self):
        _here.actor = self
        while True:
            self.turn.acquire()
            if self.job is None:
                connections.close_all()
                self.came.release()
                return
            try:
                self._meet_fate()
                self.job()
            except Killed:
                pass
            except Exception as fault:  # noqa: BLE001 - whoever judges the schedule looks at it
                self.fault = fault, traceback.format_exc()
            _put_away_broken_connections()
            self.job, self.at = None, "idle"
            self.came.release()

    def stop_at(self, place):
        """Give the baton back and wait for the next turn."""
        if self.dead:
            raise Killed
        self.at = place
        self.came.release()
        self.turn.acquire()
        self._meet_fate()

    def _meet_fate(self):
        if self.dies:
            self.dead = True
            cut_connections()
            raise Killed


def point(place):
    """Let the scheduler decide here; nothing where no schedule runs."""
    actor = getattr(_here, "actor", None)
    if actor is not None:
        actor.stop_at(place)


def current_actor():
    """Return whose thread this is, None for the one that decides."""
    return getattr(_here, "actor", None)


def cut_connections():
    """Do what the death of a process does to its sessions: the server rolls back."""
    for wrapper in connections.all(initialized_only=True):
        if wrapper.connection is not None and not _is_idle(wrapper.connection):
            cut(wrapper)


def _is_idle(session):
    return session.info.transaction_status is TransactionStatus.IDLE


def cut(wrapper):
    """Close the socket of a connection without a word to Django."""
    current_actor().pids.discard(wrapper.connection.info.backend_pid)
    wrapper.connection.close()


def _put_away_broken_connections():
    for wrapper in connections.all(initialized_only=True):
        if wrapper.connection is not None and wrapper.connection.closed:
            # Not close(): where it died inside of a block, Django would wait for the block's end.
            wrapper.connection = None


def commit_or_lose(wrapper, commit):
    """Commit, unless this actor's connection is to be lost before or after it."""
    actor = current_actor()
    point("COMMIT")
    lost = actor.loses if actor else None
    if lost is None:
        commit(wrapper)
        return
    actor.loses = None
    if lost == "after":
        commit(wrapper)
    cut(wrapper)
    raise OperationalError("server closed the connection unexpectedly")


class Sessions:
    """A connection to each database beside all others, which see who waits and who is gone."""

    def __init__(self, databases):
        self.connections = {
            database.alias: psycopg.connect(**database.get_connection_params(), autocommit=True)
            for database in databases
        }

    def everywhere(self, sql, parameters=None):
        """Send a statement to each database, and return all rows."""
        found = []
        for connection in self.connections.values():
            answer = connection.execute(sql, parameters)
            found += answer.fetchall() if answer.description else []
        return found

    def script(self, sql, alias):
        """Send several statements at once; no plan is kept of them."""
        self.connections[alias].execute(sql, prepare=False)

    def rows(self, sql, parameters=None):
        """Ask the database whose tables are named."""
        # Of the stories about contexts apart, all databases are the one.
        alias = database_of(sql).alias
        connection = self.connections.get(alias, self.connections["default"])
        return connection.execute(sql, parameters).fetchall()

    def holders(self, pids):
        """Return the sessions for whose locks one of these waits."""
        found = self.rows(
            "SELECT DISTINCT unnest(pg_blocking_pids(p.pid)) FROM unnest(%s::int[]) AS p (pid)",
            [sorted(pids)],
        )
        return {row[0] for row in found}

    def until_gone(self, pids):
        """Return when the server has rolled back what the dead had begun."""
        for _ in range(10_000):
            gone = "SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)"
            if not self.rows(gone, [sorted(pids)]):
                return
        raise AssertionError(f"sessions {pids} do not end")

    def close(self):
        for connection in self.connections.values():
            connection.close()


class Scheduler:
    """The actors, and the baton."""

    def __init__(self, databases, count=4):
        self.sessions = Sessions(databases)
        self.actors = [Actor(f"p{number}") for number in range(count)]

    def close(self):
        for actor in self.actors:
            actor.turn.release()
            actor.thread.join(PATIENCE)
        self.sessions.close()

    def idle(self):
        return next((actor for actor in self.actors if not actor.busy), None)

    def ready(self):
        """Return who could go on, after one whose lock came free has reached a point.

        While somebody waits only those go on for whom it waits: two that wait for one lock would
        be woken together, and who then comes first is nobody's decision.
        """
        holders = set()
        for actor in self.actors:
            if actor.blocked:
                found = self.sessions.holders(actor.pids)
                if not found:
                    self._until_it_comes(actor)
                holders |= found
        able = [actor for actor in self.actors if actor.busy and not actor.blocked]
        if not self.blocked():
            return able
        return [actor for actor in able if actor.pids & holders]

    def blocked(self):
        return [actor for actor in self.actors if actor.blocked]

    def give(self, actor):
        """Let an actor run to its next point, its end, or a lock."""
        before = set(actor.pids)
        actor.turn.release()
        self._until_it_comes(actor)
        lost = before - actor.pids
        if lost:
            self.sessions.until_gone(lost)

    def kill(self, actor):
        """Let an actor die where it stands."""
        actor.dies = True
        self.give(actor)

    def run_alone(self, job, label="alone"):
        """Carry out a job from its beginning to its end, with nobody beside it."""
        actor = self.idle()
        actor.begin(job, label)
        while actor.busy:
            self.give(actor)
            if actor.blocked:
                raise AssertionError(f"{label} waits at {actor.at} for a lock that nobody holds")
        return actor

    def _until_it_comes(self, actor):
        waited = 0.0
        while not actor.came.acquire(timeout=GLANCE):
            waited += GLANCE
            if actor.pids and self.sessions.holders(actor.pids):
                actor.blocked = True
                return
            if waited > PATIENCE:
                raise AssertionError(f"{actor.name} does not come from {actor.at}")
        actor.blocked = False

    @contextlib.contextmanager
    def nobody_left(self):
        """Whatever happens inside, leave with every actor idle."""
        try:
            yield
        finally:
            for _ in range(1000):
                left = [actor for actor in self.ready() if actor.busy]
                if not left and not self.blocked():
                    break
                for actor in left:
                    self.kill(actor)
