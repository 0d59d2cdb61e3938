"""Time, ids, Redis and the broker of a schedule: nothing of them is left to chance.

PostgreSQL's clock is a row: functions of the same names, in a schema that stands before
``pg_catalog`` on the actors' search path. What the engine's statements call the time is therefore
what the schedule says, in SQL as in Python.
"""

import itertools
import random
import re
import sys
import time
from datetime import UTC, datetime, timedelta

from celery.canvas import Signature, _chain
from django.conf import settings
from django.db.backends.signals import connection_created
from kombu.exceptions import OperationalError as BrokerRefuses

from config.postgresql.base import DatabaseWrapper
from sagas import clock, failpoints, ids
from sagas.orchestration import canvas, donekeys, wakes
from tests.interleaving import scheduler
from tests.interleaving.messages import Message

DAWN = datetime(2026, 1, 1, tzinfo=UTC)

CLOCK = """
CREATE SCHEMA IF NOT EXISTS interleaving;
CREATE TABLE IF NOT EXISTS interleaving.clock (at timestamptz NOT NULL);
DELETE FROM interleaving.clock;
INSERT INTO interleaving.clock VALUES ('2026-01-01T00:00:00Z');
CREATE OR REPLACE FUNCTION interleaving.clock_timestamp() RETURNS timestamptz
    LANGUAGE sql STABLE AS 'SELECT at FROM interleaving.clock';
CREATE OR REPLACE FUNCTION interleaving.statement_timestamp() RETURNS timestamptz
    LANGUAGE sql STABLE AS 'SELECT at FROM interleaving.clock';
GRANT USAGE ON SCHEMA interleaving TO PUBLIC;
GRANT SELECT ON interleaving.clock TO PUBLIC;
"""

# What an operator has stopped stands still: all that lets it go raises the token, and nobody turns
# it round for a no. Whatever has moved it all the same is kept, if it was committed.
STANDSTILL = """
CREATE TABLE IF NOT EXISTS interleaving.moved (saga uuid, how text);
CREATE OR REPLACE FUNCTION interleaving.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO interleaving.moved VALUES (NEW.id,
        OLD.cursor || ' to ' || NEW.cursor || ', ' || OLD.pending || ' to ' || NEW.pending);
    RETURN NULL;
END $$;
GRANT INSERT ON interleaving.moved TO PUBLIC;
DO $$
BEGIN
    IF to_regclass('sagas_saga') IS NOT NULL THEN
        CREATE OR REPLACE TRIGGER interleaving_standstill AFTER UPDATE ON sagas_saga FOR EACH ROW
            WHEN (OLD.parked_at IS NOT NULL AND OLD.parked_reason NOT LIKE '% attempts%'
                AND (NEW.status, NEW.cursor, NEW.pending)
                    IS DISTINCT FROM (OLD.status, OLD.cursor, OLD.pending)
                AND (NEW.fencing_token = OLD.fencing_token
                    OR NEW.failed_step IS DISTINCT FROM OLD.failed_step))
            EXECUTE FUNCTION interleaving.note();
    END IF;
END $$
"""

# The order in which rows come back must not follow from how full the tables happen to be, nor the
# end of a wait for a lock from how fast the machine is.
SAME_PLANS = (
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;"
    " SET plan_cache_mode = force_generic_plan; SET lock_timeout = 0"
)

_TABLE = re.compile(r"\b((?:sagas|orders|billing|payments|public)[_.][a-z_.]+)")
_VERB = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM|SELECT|SET LOCAL)\b")


def name_of(sql):
    """Return what a trace calls a statement: its verbs and its first table."""
    verb = _VERB.search(sql.replace('"', ""))
    name = _TABLE.search(sql.replace('"', ""))
    return f"{verb[0] if verb else sql.split()[0]} {name[1] if name else ''}".strip()


class Redis:
    """A dictionary whose keys end in the schedule's time, and that may forget them before."""

    def __init__(self, nature):
        self.nature = nature
        self.keys = {}

    def get(self, key):
        value, end = self.keys.get(key, (None, None))
        return value if end is None or self.nature.now < end else None

    def set(self, key, value, *, nx=False, ex=None, px=None):
        if nx and self.get(key) is not None:
            return None
        life = timedelta(seconds=ex) if ex else timedelta(milliseconds=px) if px else None
        self.keys[key] = (str(value).encode(), self.nature.now + life if life else None)
        return True

    def ttl(self, key):
        if self.get(key) is None:
            return -2
        end = self.keys[key][1]
        return -1 if end is None else int((end - self.nature.now).total_seconds())

    def delete(self, *keys):
        return sum(self.keys.pop(key, None) is not None for key in keys)

    def pipeline(self, transaction=True):
        return Pipeline(self)


class Pipeline:
    """Several commands in one call."""

    def __init__(self, redis):
        self.redis = redis
        self.commands = []

    def __getattr__(self, name):
        return lambda *args, **options: self.commands.append((name, args, options))

    def execute(self):
        return [getattr(self.redis, name)(*args, **opts) for name, args, opts in self.commands]


class Nature:
    """What the code under test believes to be the world; set anew for each schedule."""

    def __init__(self, sessions):
        self.sessions = sessions
        self.now = DAWN
        self.redis = Redis(self)
        self.refusals = 0
        self.sent = []
        for alias in sessions.connections:
            sessions.script(CLOCK, alias)
            sessions.script(STANDSTILL, alias)
        self.reset(0)

    def reset(self, seed):
        self.now = DAWN
        self.sessions.everywhere("UPDATE interleaving.clock SET at = %s", [self.now])
        self.sessions.everywhere("DELETE FROM interleaving.moved")
        self.redis.keys.clear()
        self.refusals = 0
        self.sent = []
        # What the code remembers of a broker and a Redis that were slow ends with the schedule.
        canvas._patience.until = wakes._silence.until = 0.0
        self._numbers = itertools.count(1)
        self._chance = random.Random(seed)
        # The jitter of delays.
        random.seed(seed)

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.sessions.everywhere("UPDATE interleaving.clock SET at = %s", [self.now])

    def publish(self, signature):
        """Take a message, as a broker does."""
        scheduler.point(f"publish {signature.task or 'chain'}")
        if self.refusals:
            self.refusals -= 1
            raise BrokerRefuses("connection refused")
        self.sent.append(Message.of(signature))

    # -- what stands in for the standard library ---

    def monotonic(self):
        return (self.now - DAWN).total_seconds()

    def time_ns(self):
        return int(self.now.timestamp() * 1000) * 1_000_000 + next(self._numbers) * 1_000_000

    def randbits(self, count):
        return self._chance.getrandbits(count)


def _point_at_statement(execute, sql, parameters, many, context):
    scheduler.point(name_of(sql))
    return execute(sql, parameters, many, context)


def _adopt(sender, connection, **_):
    """Let a session of an actor live in the time of the schedule."""
    actor = scheduler.current_actor()
    if actor is None:
        return
    path = ", ".join(("interleaving", *settings.SEARCH_PATH, "pg_catalog"))
    connection.connection.execute(f"SET search_path = {path}; {SAME_PLANS}", prepare=False)
    actor.pids.add(connection.connection.info.backend_pid)
    if _point_at_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_point_at_statement)


def inject(monkeypatch, nature):
    """Put this nature in the place of the real one."""
    commit = DatabaseWrapper.commit
    monkeypatch.setattr(
        DatabaseWrapper, "commit", lambda wrapper: scheduler.commit_or_lose(wrapper, commit)
    )
    connection_created.connect(_adopt)
    monkeypatch.setattr(clock, "real", lambda: nature.now)
    monkeypatch.setattr(ids, "time", nature)
    monkeypatch.setattr(ids, "secrets", nature)
    for kind in (Signature, _chain):
        monkeypatch.setattr(
            kind, "apply_async", lambda signature, *_, **__: nature.publish(signature)
        )
    _everywhere(monkeypatch, failpoints.failpoint, _failpoint)
    _everywhere(monkeypatch, time.monotonic, nature.monotonic)
    _everywhere(monkeypatch, donekeys.client, lambda: nature.redis)
    monkeypatch.setattr(canvas, "depth", lambda _: len(nature.sent))
    monkeypatch.setattr(canvas, "_patience", canvas._Patience())


def put_back():
    connection_created.disconnect(_adopt)


def _failpoint(name, detail=""):
    scheduler.point(f"{name}/{detail}" if detail else name)


def _everywhere(monkeypatch, function, instead):
    """Replace a function under every name by which the engine's modules know it."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "sagas":
            for known, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, known, instead)
