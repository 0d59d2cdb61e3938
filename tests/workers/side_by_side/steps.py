"""Branches that take effect only if the other one is under way at the same moment."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from sagas.api import Command, Unknown, connection_of, current_run, handles, handles_remote

PATIENCE = 400
MEETING = 4711
BRANCHES = {"left": 1, "right": 2}
TABLE = (
    "CREATE TABLE IF NOT EXISTS public.met (branch text, saga uuid, pid int, note text,"
    " at timestamptz DEFAULT clock_timestamp());"
    "GRANT ALL ON public.met TO PUBLIC; TRUNCATE public.met"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Met:
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Meet(Command[Met]):
    name: ClassVar[str] = "orders.TestMeet"
    own: str
    other: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part(Command[None]):
    name: ClassVar[str] = "orders.TestPart"


def write(branch: str, note: str) -> None:
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.met (branch, saga, pid, note) VALUES (%s, %s, %s, %s)",
            [branch, current_run().saga_id, os.getpid(), note],
        )


def is_noted(branch: str, note: str, saga_id: UUID) -> bool:
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM public.met WHERE branch = %s AND saga = %s AND note = %s",
            [branch, saga_id, note],
        )
        return cursor.fetchone() is not None


@contextmanager
def under_way(branch: str) -> Iterator[None]:
    """Hold a lock that ends with the process: a row would outlive an attempt that was given up."""
    with connection_of("orders").cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [MEETING, BRANCHES[branch]])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [MEETING, BRANCHES[branch]])


def is_under_way(branch: str) -> bool:
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s"
            " AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [MEETING, BRANCHES[branch]],
        )
        return cursor.fetchone() is not None


def intend_meet(command: Meet) -> None:
    return None


def call_meet(command: Meet, intent: None) -> int:
    """Safe to repeat: it says that it is there, and stays until both have seen each other.

    One that is done was seen, or it would not be done.
    """
    saga_id, has_met = current_run().saga_id, False
    with under_way(command.own):
        write(command.own, "called")
        for _ in range(PATIENCE):
            if is_noted(command.other, "done", saga_id):
                return os.getpid()
            if not has_met and is_under_way(command.other):
                write(command.own, "met")
                has_met = True
            if has_met and is_noted(command.other, "met", saga_id):
                return os.getpid()
            threading.Event().wait(0.025)
    raise Unknown(f"{command.other} has not come: they do not run side by side")


@handles_remote(Meet, intent=intend_meet, call=call_meet)
def record_meet(command: Meet, intent: None, pid: int) -> Met:
    write(command.own, "done")
    return Met(pid=pid)


@handles(Part)
def part(command: Part) -> None:
    """Safe to repeat: the test counts."""
    write("part", "done")
