"""Faults of processes: killed at a place or by a timer, frozen, restarted, doubled."""

import os
import signal
import time
from functools import partial
from typing import Final

import psutil

from config.chaos.armory import Armory
from config.chaos.servers import wait_for
from config.chaos.stage import HIT_WITHIN, UNDER_WAY, Record, Stage
from config.chaos.world import GRACE, Managed

GONE_WITHIN: Final = 5.0
FROZEN: Final = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})


def kill_at_a_place(stage: Stage, record: Record) -> None:
    """Kill the pool child that comes by, its parent, or both with all its siblings."""
    _at_a_place(stage, record, "worker", stage.product.workers, record.injection.way)


def kill_web(stage: Stage, record: Record) -> None:
    """Kill the web process that a request is in, or a whole server by a timer."""
    way = record.injection.way
    if way != "timer":
        _at_a_place(stage, record, "web", stage.product.web, way)
        return
    server = stage.pick("web", record.injection.victim)
    if server is None:
        return
    stage.strike(record)
    _kill_whole(stage, record, server)


def _at_a_place(stage: Stage, record: Record, kind: str, armory: Armory, place: str) -> None:
    stage.await_crew(kind)
    # It stops there first, so that the process can be told from all others.
    with armory.armed(place, "stop") as mark:
        record.facts["hit"] = armory.await_hit(mark, HIT_WITHIN) and wait_for(
            lambda: _frozen(stage, kind) is not None, GONE_WITHIN
        )
    found = _frozen(stage, kind)
    if found is None:
        return
    parent, child = found
    stage.strike(record)
    record.notes["victim"] = parent.name
    if record.injection.how == "child":
        child.kill()
        record.facts["gone"] = wait_for(lambda: not _lives(child), GONE_WITHIN)
        record.healed = time.time()
    elif record.injection.how == "parent":
        _kill_parent(stage, record, parent, child)
    else:
        _kill_whole(stage, record, parent)


def _kill_parent(stage: Stage, record: Record, parent: Managed, child: psutil.Process) -> None:
    """Kill the parent alone; the child thaws as an orphan, acts, and finds nobody to tell."""
    before = parent.deaths
    parent.expected = True
    os.kill(parent.pid, signal.SIGKILL)
    child.resume()
    _await_restart(stage, record, parent, before)


def _kill_whole(stage: Stage, record: Record, victim: Managed) -> None:
    before = victim.deaths
    victim.kill()
    _await_restart(stage, record, victim, before)


def _await_restart(stage: Stage, record: Record, victim: Managed, before: int) -> None:
    record.facts["gone"] = wait_for(lambda: victim.deaths > before, GONE_WITHIN)
    stage.heal_later(record, lambda: stage.ready(victim, before))


def kill_child(stage: Stage, record: Record) -> None:
    """Kill a pool child, whatever it does."""
    worker = stage.pick("worker", record.injection.victim)
    children = worker.children() if worker else []
    if worker is None or not children:
        return
    child = children[record.injection.victim % len(children)]
    deaths = worker.deaths
    stage.strike(record)
    child.kill()
    record.facts["gone"] = wait_for(lambda: not _lives(child), GONE_WITHIN)
    record.healed = time.time()
    known = {each.pid for each in children}
    wait_for(lambda: any(each.pid not in known for each in worker.children()), GONE_WITHIN)
    record.facts["parent_lives"] = worker.deaths == deaths and worker.alive


def kill_all(stage: Stage, record: Record) -> None:
    """Kill every worker with all its children in one moment."""
    workers = stage.workers()
    before = {worker.name: worker.deaths for worker in workers}
    stage.strike(record)
    for worker in workers:
        worker.kill()
    record.facts["gone"] = wait_for(
        lambda: all(worker.deaths > before[worker.name] for worker in workers), GONE_WITHIN
    ) and bool(workers)
    record.notes["killed"] = len(workers)
    for worker in workers:
        stage.ready(worker, before[worker.name])
    record.healed = time.time()
    # The next one is to meet sagas of its own.
    wait_for(lambda: not _under_way_before(stage, record.healed), stage.bound, 0.5)


def _under_way_before(stage: Stage, moment: float) -> bool:
    question = f"{UNDER_WAY} AND parked_at IS NULL AND started_at < to_timestamp({moment:f})"
    rows = stage.ask(question)
    return not rows or rows[0][0] != 0


def restart_in_turn(stage: Stage, record: Record) -> None:
    """Restart the workers one after the other, as a release does."""
    record.facts |= {"ended": True, "within_grace": True}
    stage.strike(record)
    took = []
    for worker in stage.workers():
        before = worker.deaths
        worker.expected = True
        began = time.monotonic()
        os.kill(worker.pid, signal.SIGTERM)
        if not wait_for(partial(_has_died, worker, before), GRACE):
            record.facts["within_grace"] = False
            worker.kill()
        took.append(round(time.monotonic() - began, 1))
        record.facts["ended"] &= stage.ready(worker, before)
    record.notes["seconds_to_end"] = took
    record.healed = time.time()


def freeze(stage: Stage, record: Record) -> None:
    """Freeze a worker with all its children at a place, and thaw it when its lease has run out."""
    armory = stage.product.workers
    with armory.armed(record.injection.way, "stop") as mark:
        record.facts["hit"] = armory.await_hit(mark, HIT_WITHIN) and wait_for(
            lambda: _frozen(stage, "worker") is not None, GONE_WITHIN
        )
    found = _frozen(stage, "worker")
    if found is None:
        return
    parent, child = found
    stage.strike(record)
    # The parent too, or it would end the child at the hard limit, which comes before the lease.
    parent.signal_group(signal.SIGSTOP)
    began = time.monotonic()
    stage.over.wait(record.injection.seconds)
    record.facts["frozen"] = time.monotonic() - began >= stage.lease and _lives(child)
    # The child first: it is to act on what it believes before its parent looks at the clock.
    if _lives(child):
        child.resume()
    stage.over.wait(0.3)
    parent.signal_group(signal.SIGCONT)
    record.facts["thawed"] = wait_for(lambda: not _is_frozen(child), GONE_WITHIN)
    record.healed = time.time()


def trouble_beat(stage: Stage, record: Record) -> None:
    """Leave beat dead for a while, or frozen, or have two of them."""
    first, second = stage.world.of("beat")
    stage.strike(record)
    if record.injection.way == "double":
        second.wanted = True
        wait_for(lambda: second.alive, GONE_WITHIN)
        stage.over.wait(record.injection.seconds)
        record.facts["silent_or_double"] = first.alive and second.alive
        second.wanted = False
        second.kill()
    elif record.injection.way == "frozen":
        os.kill(first.pid, signal.SIGSTOP)
        stage.over.wait(record.injection.seconds)
        record.facts["silent_or_double"] = psutil.Process(first.pid).status() in FROZEN
        os.kill(first.pid, signal.SIGCONT)
    else:
        before = first.deaths
        first.wanted = False
        first.kill()
        stage.over.wait(record.injection.seconds)
        record.facts["silent_or_double"] = not first.alive and not second.alive
        first.wanted = True
        stage.ready(first, before)
    record.healed = time.time()


def _has_died(worker: Managed, before: int) -> bool:
    return worker.deaths > before


def _frozen(stage: Stage, kind: str) -> tuple[Managed, psutil.Process] | None:
    """Find the child that has stopped at a place, and whose it is."""
    for managed in stage.world.of(kind):
        for child in managed.children() if managed.alive else ():
            if _is_frozen(child):
                return managed, child
    return None


def _is_frozen(process: psutil.Process) -> bool:
    try:
        return bool(process.status() in FROZEN)
    except psutil.NoSuchProcess:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
