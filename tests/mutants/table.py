"""Which guards there are, how each is taken out, and which tests have to notice.

Guards of statements are found in the source (``guards.py``) and need no line here. Guards in
Python and in the database are listed here by hand.
"""

import ast
from dataclasses import dataclass
from itertools import groupby

from tests.mutants import guards

SCHEDULES = "tests/interleaving/test_schedules.py"
GUARDS = "tests/concurrency/sagas/test_guards.py"
LONE = "tests/concurrency/sagas/test_lone_guards.py"
_I = "tests/integration/sagas/"
STEPS = (GUARDS, LONE, _I + "test_link_ends.py", _I + "test_time_limits.py", SCHEDULES)
WAITS = (_I + "test_waits.py", "tests/concurrency/sagas/test_signal_races.py", SCHEDULES)
GROUPS = (
    "tests/concurrency/sagas/test_group_guards.py",
    _I + "test_groups.py",
    LONE,
    "tests/concurrency/sagas/test_group_races.py",
    SCHEDULES,
)
LOCKS = (_I + "test_locks.py", "tests/concurrency/sagas/test_lock_races.py", LONE, SCHEDULES)
HELD_ROWS = "tests/concurrency/sagas/test_held_rows.py"
DETACHED = "tests/concurrency/sagas/test_detached.py"
DETACHED_SKIPS = "tests/concurrency/sagas/test_detached_skips.py"
HEARING = (
    LONE,
    _I + "test_relay.py",
    _I + "test_delivery.py",
    _I + "test_attempts_at_events.py",
    SCHEDULES,
)

# Which tests are asked, in this order; the first that fails ends the run.
ASKED = {
    "sagas.choreography": (_I + "test_choreography.py", _I + "test_new_flows.py"),
    "sagas.choreography.seen": (_I + "test_flows_by_terminal.py",),
    "sagas.clock": (LONE, _I + "test_sweep.py", _I + "test_waits.py"),
    "sagas.idempotency": (
        "tests/concurrency/orders/test_same_request.py",
        "tests/integration/web/test_idempotency.py",
    ),
    "sagas.management": (_I + "test_operating_by_terminal.py",),
    "sagas.reasons": (_I + "test_starting.py",),
    "sagas.orchestration": STEPS,
    "sagas.orchestration.barriers": (DETACHED, DETACHED_SKIPS, *STEPS),
    "sagas.orchestration.branch": GROUPS,
    "sagas.orchestration.commits": (DETACHED, *STEPS),
    "sagas.orchestration.children": (_I + "test_children.py",),
    "sagas.orchestration.requests": (DETACHED,),
    "sagas.orchestration.branch_stops": (*GROUPS[:2], _I + "test_skip.py", *GROUPS[2:]),
    "sagas.orchestration.stops": (
        _I + "test_postponements.py",
        _I + "test_children.py",
        *STEPS,
        _I + "test_operating_by_terminal.py",
    ),
    "sagas.orchestration.skipping": (
        _I + "test_skip.py",
        _I + "test_skip_seen.py",
        DETACHED_SKIPS,
        _I + "test_locks.py",
        _I + "test_children.py",
    ),
    "sagas.orchestration.limits": (
        _I + "test_time_limits.py",
        _I + "test_link_ends.py",
    ),
    "sagas.orchestration.progress": (_I + "test_heartbeats.py",),
    "sagas.orchestration.together": (_I + "test_together.py", SCHEDULES),
    "sagas.orchestration.signals": WAITS,
    "sagas.orchestration.sweep": (
        LONE,
        _I + "test_sweep.py",
        _I + "test_batches.py",
        HELD_ROWS,
        SCHEDULES,
    ),
    "sagas.orchestration.versions": (LONE, _I + "test_versions.py"),
    "sagas.orchestration.waits": WAITS,
    "sagas.orchestration.batch": (_I + "test_batches.py", HELD_ROWS),
    "sagas.orchestration.claims": (_I + "test_batches.py", HELD_ROWS, SCHEDULES),
    "sagas.orchestration.audited": (HELD_ROWS,),
    "sagas.orchestration.asking": (DETACHED,),
    "sagas.orchestration.handover": LOCKS,
    "sagas.orchestration.locks": LOCKS,
    "sagas.orchestration.starting": (
        _I + "test_starting_once.py",
        _I + "test_children.py",
        "tests/concurrency/sagas/test_lock_races.py",
    ),
    "sagas.outbox": HEARING,
    "sagas.outbox.history": (_I + "test_history.py",),
    "sagas.outbox.pruning": (
        "tests/integration/admin/test_unreadable_screen.py",
        _I + "test_republish.py",
        _I + "test_history.py",
        _I + "test_outside.py",
        _I + "test_stream.py",
        _I + "test_new_consumers.py",
    ),
    "sagas.outbox.publishing": (_I + "test_publishing.py", _I + "test_history.py"),
    "sagas.outbox.relay": (
        *HEARING[:2],
        _I + "test_republish.py",
        _I + "test_history.py",
        _I + "test_new_consumers.py",
        *HEARING[2:],
    ),
    "sagas.outbox.outside": (_I + "test_outside.py", _I + "test_outside_refused.py"),
    "sagas.outbox.bell": (_I + "test_bell.py",),
    "sagas.outbox.refused": (_I + "test_outside_refused.py",),
    "sagas.outbox.streaming": (_I + "test_stream.py",),
    "sagas.outbox.republish": (
        _I + "test_republish.py",
        _I + "test_one_database_away.py",
        _I + "test_new_consumers.py",
        LONE,
    ),
    "sagas.outbox.slots": (_I + "test_tailing.py",),
    "sagas.outbox.tailing": (_I + "test_tailing.py",),
    "sagas.outbox.attempts": (*HEARING, _I + "test_new_consumers.py"),
    "sagas.outbox.catching_up": (_I + "test_new_consumers.py",),
    "sagas.outbox.past": (_I + "test_new_consumers.py",),
    "sagas.outbox.dead_letters": (
        *HEARING,
        _I + "test_operating_by_terminal.py",
        _I + "test_new_consumers.py",
    ),
    "sagas.outbox.discarding": (*HEARING, _I + "test_operating_by_terminal.py"),
    "sagas.outbox.letter_marks": (
        _I + "test_operating_by_terminal.py",
        "tests/integration/admin/test_acts.py",
    ),
    "sagas.outbox.starts": (_I + "test_new_consumers.py",),
    "sagas.outbox.subscriptions": (_I + "test_upcast_delivery.py",),
    "sagas.projections": (
        "tests/integration/orders/test_rebuild_past_letters.py",
        "tests/integration/orders/test_rebuild.py",
        "tests/integration/orders/test_board.py",
    ),
    "sagas.admin.acts": ("tests/integration/admin/test_acts.py",),
    "sagas.admin.clicks": ("tests/integration/admin/test_story_timeline.py",),
    "sagas.streams": ("tests/integration/data/test_events_verified.py",),
    "sagas.outbox.resending": ("tests/integration/admin/test_acts.py",),
}
ALL = "all of them"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """The engine without one guard."""

    name: str
    module: str = ""
    taken: tuple[guards.Guard, ...] = ()
    """Guards of one statement."""
    text: str = ""
    instead: str = ""
    rules: tuple[tuple[str, str], ...] = ()
    """Tables and what the database refuses on them."""
    asked: tuple[str, ...]
    beside: str = ""
    """What does the same work, where the tests need not notice; else empty."""

    def mutated(self, source: str) -> ast.Module:
        """Return the module without its guard."""
        if self.taken:
            return guards.without(source, *self.taken)
        assert source.count(self.text) == 1, f"{self.text!r}: {source.count(self.text)} times"
        return ast.parse(source.replace(self.text, self.instead))


# name: (module, what stands there, what stands there instead)
BY_HAND = {
    "only what the history has is pruned": (
        "sagas.outbox.history",
        " AND id IN (SELECT id FROM {event})",
        "",
    ),
    "what was missed is kept before anything is pruned": (
        "sagas.outbox.pruning",
        "        keep(producer, done)\n",
        "",
    ),
    "what waits in the queue is not sent again at once": (
        "sagas.outbox.relay",
        "return random() * (1 + min(waiting // max(messages, FEW), rarest - 1)) < 1",
        "return True",
    ),
    "a letter whose own event is lost is rung for no more": (
        "sagas.outbox.delivery",
        "        dead_letters.lose(consumer, lost)",
        "        pass",
    ),
    "a run in which nobody got on does not ring for the next": (
        "sagas.outbox.pruning",
        "time.is_cut or (is_cut and len(left) < len(behind))",
        "time.is_cut or is_cut",
    ),
    "a run that has come to an end does not ring for the next": (
        "sagas.outbox.pruning",
        "        if time.is_cut:",
        "        if True:",
    ),
    "what cannot be pruned does not stand before what can": (
        "sagas.outbox.pruning",
        "(deleted and time.is_over())",
        "time.is_over()",
    ),
    "of several runs of pruning at once one goes on": (
        "sagas.outbox.pruning",
        "if token is None",
        "if False",
    ),
    "an act on a flow asks whether it stands as it was seen": (
        "sagas.choreography.seen",
        "Q() if seen is None else Q(state=seen.state, parked_at=seen.parked_at)",
        "Q()",
    ),
    "what is marked is kept": (
        "sagas.outbox.relay",
        "    RETURNING {columns})\n{keep}\n",
        "    RETURNING {columns}) SELECT\n",
    ),
    "a watchdog that froze past its lease changes nothing": (
        "sagas.choreography.moves",
        "id=flow.id, token=flow.token, finished_at=None",
        "id=flow.id, finished_at=None",
    ),
    "what was handled and told nothing is not taken for through": (
        "sagas.choreography.looking",
        "return done and (not self.hop.tells or self.told_id is not None)",
        "return done",
    ),
    "what an operator discarded is not taken for handled": (
        "sagas.choreography.looking",
        "done = self.is_applied and not self.is_discarded",
        "done = self.is_applied",
    ),
    "an act on a flow raises the token": (
        "sagas.choreography.operating",
        'chosen.update(token=F("token") + 1, **changes)',
        "chosen.update(**changes)",
    ),
    "an attempt at an undo is counted before it begins": (
        "sagas.choreography.moves",
        "    attempts = attempts + (state = 'compensating')::int,\n",
        "",
    ),
    "an undo that ends its process is left to an operator": (
        "sagas.choreography.undoing",
        "if flow.attempts > int(conf.MAX_ATTEMPTS):",
        "if False:",
    ),
    "what is undone is known by the undo's name": (
        "sagas.choreography.undoing",
        "{hop.undo_name, number} & {*flow.undone}",
        "{number} & {*flow.undone}",
    ),
    "what a newer release has told is left to it": (
        "sagas.choreography.told",
        "if wanted < written:",
        "if False:",
    ),
    "a release that cannot read a flow makes no attempt": (
        "sagas.choreography.undoing",
        "missing=error_texts.text_of(newer), attempts=flow.attempts - 1)",
        "missing=error_texts.text_of(newer))",
    ),
    "an undo is given the first event as this release tells it": (
        "sagas.choreography.told",
        "upcasting.upcast(name, json.loads(payload), written, wanted)",
        "json.loads(payload)",
    ),
    "of a young event a position says nothing": (
        "sagas.choreography.told",
        " WHERE id = %s AND (\n    created_at <",
        " WHERE id = %s AND (true OR\n    created_at <",
    ),
    "what is pruned is known by its position": (
        "sagas.choreography.told",
        "return position(consumer, aggregate_type, aggregate_id) >= int(number)",
        "return False",
    ),
    "what a consumer of now began behind is not past it": (
        "sagas.choreography.told",
        "row[3] <= starts.border_of(consumer, producer)",
        "row[3] <= 0",
    ),
    "a flow begins with what is told after it was declared": (
        "sagas.choreography.opening",
        "[flow for flow in flows.begun_by(event.name) if flow.name in declared]",
        "flows.begun_by(event.name)",
    ),
    "what comes behind an event that the outside refused waits in its batch": (
        "sagas.outbox.outside",
        "in refusals:",
        "in ():",
    ),
    "what comes behind an event that the outside refused waits": (
        "sagas.outbox.outside",
        "[*refused.held(context), most]",
        "[[], [], most]",
    ),
    "nobody rings where nobody answers": (
        "sagas.outbox.bell",
        "if is_first and _age(left) <= PATIENCE:",
        "if is_first:",
    ),
    "a tick is no answer to a ring": (
        "sagas.outbox.bell",
        "*([ASKED] * came_by_ring)",
        "ASKED",
    ),
    "what is not in the timeline is shown from the outbox": (
        "sagas.admin.clicks",
        "others = [pair for key, pair in recent.items() if key not in found]",
        "others: list[tuple[str, Any]] = []",
    ),
    "what a timeline does not hear of is not called missing": (
        "sagas.admin.clicks",
        "is_missing=pair[1].type in kept.names",
        "is_missing=True",
    ),
    "what is more than is shown is not called missing": (
        "sagas.admin.clicks",
        "        rows += table.filter(event_id__in=list(recent))\n",
        "        pass\n",
    ),
    "what waits is looked at before what everybody has heard": (
        "sagas.admin.clicks",
        'F("settled_at").asc(nulls_first=True), "position"',
        'F("position")',
    ),
    "a rebuild leaves out what was discarded": (
        "sagas.projections.letters",
        "told = [event for event in page if event.envelope.event_id not in letters.discarded]",
        "told = page",
    ),
    "what comes behind an event that a rebuild left out waits too": (
        "sagas.projections.letters",
        "self.behind |= letters.stuck &",
        "self.behind = letters.stuck &",
    ),
    "a slow tick makes no read model older": (
        "sagas.projections.lag",
        "greatest(s.as_of, excluded.as_of)",
        "excluded.as_of",
    ),
    "a rebuild puts in what was applied meanwhile": (
        "sagas.projections.rebuild",
        "                self._put(self.left_out.applied())\n",
        "",
    ),
    "a refused commit is noticed": (
        "sagas.orchestration.store",
        "if changed != [1, 1]:",
        "if not changed:",
    ),
    "a shared commit moves all of them or nobody": (
        "sagas.orchestration.together",
        "if [moved, barred] != [len(parts)] * 2:",
        "if not moved:",
    ),
    "who is worked at is not given back as fresh": (
        "sagas.orchestration.together",
        "            hand.remove(saga)\n            parts.append(",
        "            parts.append(",
    ),
    "what was not seen done is undone behind a closed door": (
        "sagas.orchestration.together",
        "saga.came_to.get(number) is RunState.DONE",
        "True",
    ),
    "a refused fault is noticed": (
        "sagas.orchestration.stops",
        "if cursor.fetchone() != (1,):",
        "if cursor.fetchone() is None:",
    ),
    "a claim raises the token": (
        "sagas.orchestration.store",
        "UPDATE sagas_saga SET fencing_token = fencing_token + 1, attempts = attempts + 1,\n",
        "UPDATE sagas_saga SET attempts = attempts + 1,\n",
    ),
    "a claim counts the attempt before the work": (
        "sagas.orchestration.store",
        "fencing_token = fencing_token + 1, attempts = attempts + 1,",
        "fencing_token = fencing_token + 1,",
    ),
    "the door is closed on a step that never ran": (
        "sagas.orchestration.store",
        "VALUES (%(id)s, %(step_no)s, 'do', 'canceled') ON CONFLICT",
        "SELECT %(id)s, %(step_no)s, 'do', 'canceled' WHERE false ON CONFLICT",
    ),
    "a compensation raises the token": (
        "sagas.orchestration.stops",
        "canceled_by = %(by)s, fencing_token = fencing_token + 1,",
        "canceled_by = %(by)s,",
    ),
    "a child that waits is turned unless its parent needs it": (
        "sagas.orchestration.stops",
        " AND p.past_return",
        "",
    ),
    "a child that its parent needs is not turned": (
        "sagas.orchestration.stops",
        "p.id = s.parent_id AND p.past_return",
        "false",
    ),
    "a parking raises the token": (
        "sagas.orchestration.stops",
        'parked_reason = %s,"\n            " fencing_token = fencing_token + 1,',
        'parked_reason = %s,"\n            "',
    ),
    "a parking takes the branches from their workers": (
        "sagas.orchestration.branch_stops",
        '"UPDATE sagas_steprun SET leased_until = NULL, fencing_token = fencing_token + 1"',
        '"UPDATE sagas_steprun SET leased_until = NULL"',
    ),
    "entering a remote pivot is past the return": (
        "sagas.orchestration.work",
        "past_return=work.claimed.past_return or is_pivot,",
        "past_return=work.claimed.past_return,",
    ),
    "no call is made inside a transaction": (
        "sagas.orchestration.work",
        "    outside_transaction()\n",
        "",
    ),
    "a no at the pivot is made final": (
        "sagas.orchestration.steps",
        'outcome = call_out(work, handler.close, command, intent, "close.returned")',
        "outcome = None",
    ),
    "a no before the call of a pivot is a fault": (
        "sagas.orchestration.steps",
        "        if work.step.kind is Kind.PIVOT:\n            # An earlier attempt",
        "        if work.step.kind is Kind.RETRIABLE:\n            # An earlier attempt",
    ),
    "a no after the pivot is a fault": (
        "sagas.orchestration.steps",
        "if may_not or work.step.kind is Kind.RETRIABLE:",
        "if may_not:",
    ),
    "a call that was only intended is undone": (
        "sagas.orchestration.compensation",
        "return is_remote or forward == RunState.DONE",
        "return forward == RunState.DONE",
    ),
    "what never ran is not undone": (
        "sagas.orchestration.compensation",
        "if forward in {None, RunState.SKIPPED}:",
        "if forward == RunState.SKIPPED:",
    ),
    "a worn-out saga is parked": (
        "sagas.orchestration.faults",
        "if claimed.attempts <= attempt.most:",
        "if claimed.attempts <= 10**9:",
    ),
    "past the pivot no deadline counts": (
        "sagas.orchestration.limits",
        "if claimed.status != Status.RUNNING or claimed.past_return:",
        "if claimed.status != Status.RUNNING:",
    ),
    "a worker tells by the clock of the database whether the time is over": (
        "sagas.orchestration.limits",
        "    return limit <= clock.now(claimed.ahead)\n",
        "    return limit <= clock.now()\n",
    ),
    "the time of a step is told by the clock of the database": (
        "sagas.orchestration.limits",
        "clock.now(claimed.ahead) + within",
        "clock.now() + within",
    ),
    "a timer lets nobody go on before its time": (
        "sagas.orchestration.waits",
        "if until <= clock.now(work.claimed.ahead):",
        "if True:",
    ),
    "a timer ends by the clock of the database": (
        "sagas.orchestration.waits",
        "if until <= clock.now(work.claimed.ahead):",
        "if until <= clock.now():",
    ),
    "a wait does not end before its time": (
        "sagas.orchestration.waits",
        "if until > clock.now(work.claimed.ahead):",
        "if False:",
    ),
    "a wait ends by the clock of the database": (
        "sagas.orchestration.waits",
        "if until > clock.now(work.claimed.ahead):",
        "if until > clock.now():",
    ),
    "the end of a wait is told by the clock of the database": (
        "sagas.orchestration.waits",
        "return clock.now(work.claimed.ahead) + length",
        "return clock.now() + length",
    ),
    "a saga sleeps by the clock of the database": (
        "sagas.clock",
        "(instant - now(ahead)).total_seconds()",
        "(instant - now()).total_seconds()",
    ),
    "the deadline of a flow is told by the clock of the database": (
        "sagas.choreography.watchdog",
        "if clock.now(flow.ahead) < flow.deadline_at:",
        "if clock.now() < flow.deadline_at:",
    ),
    "a waiter that is past its deadline is due": (
        "sagas.orchestration.locks",
        "    THEN %(seconds)s ELSE greatest",
        "    THEN greatest(%(seconds)s, %(later)s) ELSE greatest",
    ),
    "a waiter that nothing turns sleeps on past its deadline": (
        "sagas.orchestration.locks",
        "ELSE greatest(%(seconds)s, %(later)s) END",
        "ELSE %(seconds)s END",
    ),
    "a start that is on its way can be canceled": (
        "sagas.orchestration.requests",
        "if saga is None and not is_begun(saga_id) and not _is_on_its_way(saga_id):",
        "if saga is None and not is_begun(saga_id):",
    ),
    "a start that is heard while a cancel looks can be canceled": (
        "sagas.orchestration.requests",
        "        saga = _known(saga_id)  #",
        "        saga = None  #",
    ),
    "an act on many from a terminal goes past a row that is held": (
        "sagas.management.acting",
        "        except (OperationalError, InterfaceError) as trouble:",
        "        except InterfaceError as trouble:",
    ),
    "an operator's act has a name": (
        "sagas.reasons",
        "    if not by.strip():",
        "    if False:",
    ),
    "a saga without its lock sleeps on": (
        "sagas.orchestration.locks",
        "return saga.lock is not None and is_lock(claimed.waiting_for) and not obtain(claimed)",
        "return False",
    ),
    "only what was put off twice is one row": (
        "sagas.orchestration.stops",
        "FROM stopped WHERE f.kind = 'postponed' AND %(kind)s = 'postponed' AND f.id",
        "FROM stopped WHERE f.kind = 'postponed' AND f.id",
    ),
    "what is put off again and again is one row": (
        "sagas.orchestration.stops",
        "FROM stopped WHERE NOT EXISTS (SELECT FROM again))",
        "FROM stopped)",
    ),
    "a skip settles what was seen and nothing else": (
        "sagas.orchestration.skipping",
        "return row if row is None or seen is None or changed(seen, row) is None else None",
        "return row",
    ),
    "only what may be missed is skipped": (
        "sagas.orchestration.skipping",
        "return found if direction is Direction.UNDO or found.step.skippable else None",
        "return found",
    ),
    "a step whose skip was lost with its process is passed over": (
        "sagas.orchestration.barriers",
        "if state == ABANDONED and reply is not None:",
        "if False:",
    ),
    "the door of a compensation is not passed": (
        "sagas.orchestration.barriers",
        "if state in CLOSED:",
        "if False:",
    ),
    "no step is skipped while its child lives": (
        "sagas.orchestration.skipping",
        "if direction is Direction.UNDO and has_living_child(row):",
        "if False:",
    ),
    "no step is skipped without its lock": (
        "sagas.orchestration.skipping",
        "if is_lock(row.waiting_for):",
        "if False:",
    ),
    "a child's key is no later run's": (
        "sagas.orchestration.starting",
        'return f"{key}~" if _LIKE_A_LATER_RUN.fullmatch(key) else key',
        "return key",
    ),
    "a child that is there is not started": (
        "sagas.orchestration.children",
        "if find(work) is None:",
        "if True:",
    ),
    "a saga that somebody else has started is no child": (
        "sagas.orchestration.children",
        "if not begun.is_new:",
        "if False:",
    ),
    "a child that runs is not undone": (
        "sagas.orchestration.children",
        "    if child is not None and child.status not in {Status.COMPLETED, Status.COMPENSATED}:",
        "    if False:",
    ),
    "what a detached context has recorded is not done again": (
        "sagas.orchestration.commits",
        "            if known is None:\n                known = act()",
        "            if True:\n                known = act()",
    ),
    "a swept message does not ask Redis": (
        "sagas.orchestration.executor",
        "if not swept and donekeys.all_done",
        "if donekeys.all_done",
    ),
    "a batch takes along what was never tried": (
        "sagas.orchestration.claims",
        "AND s.attempts = 0 AND",
        "AND",
    ),
    "a batch takes along nothing parked": (
        "sagas.orchestration.claims",
        "AND s.pending = 0 AND s.parked_at IS NULL",
        "AND s.pending = 0",
    ),
    "a batch takes along nothing that somebody has": (
        "sagas.orchestration.claims",
        "AND s.leased_until IS NULL AND s.not_before IS NULL",
        "AND s.not_before IS NULL",
    ),
    "a batch takes along nothing that waits": (
        "sagas.orchestration.claims",
        "AND s.leased_until IS NULL AND s.not_before IS NULL",
        "AND s.leased_until IS NULL",
    ),
    "a held aggregate waits": (
        "sagas.outbox.delivery",
        "if place.letters is Standing.HELD:",
        "if place.letters is None:",
    ),
    "a letter of what its consumer is past holds nothing": (
        "sagas.outbox.delivery",
        "if dead_letters.settle_up_to(consumer, *aggregate, place.position):",
        "if not consumer:",
    ),
    "a letter that comes too late is closed": (
        "sagas.outbox.dead_letters",
        "settle_up_to(consumer, *aggregate, position(consumer, *aggregate))",
        "position(consumer, *aggregate)",
    ),
    "a letter of the outside that comes too late is closed": (
        "sagas.outbox.refused",
        "DeadLetter.objects.filter(context=OUTSIDE, resolved_at=None)\n    for",
        "DeadLetter.objects.filter(context=OUTSIDE, resolved_at=None, next_at__lte=Now())\n    for",
    ),
    "nothing is taken as applied by a consumer that cannot be asked": (
        "sagas.outbox.republish",
        "behind = theirs",
        "behind: list[Row] = []",
    ),
    "a row whose counter says so has been told of": (
        "sagas.streams.verifying",
        "id__in=keys, event_sequence=0)",
        "id__in=keys)",
    ),
    "a version that nobody can read is not passed": (
        "sagas.outbox.delivery",
        'raise UnknownVersion(f"{envelope.name} version {envelope.version}")',
        "return found",
    ),
    "what one reader cannot read is given to none": (
        "sagas.outbox.subscriptions",
        "            return []\n",
        "            continue\n",
    ),
    "each reader is given the version that it reads": (
        "sagas.outbox.subscriptions",
        "versions.setdefault(one.reader, {})",
        'versions.setdefault("", {})',
    ),
    "nothing follows what could not be handled": (
        "sagas.outbox.delivery",
        "if end is End.BURIED:",
        "if False:",
    ),
    "an event is taken as the next one only": (
        "sagas.outbox.delivery",
        "if not _take_position(consumer, envelope):",
        "if _take_position(consumer, envelope) is None:",
    ),
    "behind a hole an attempt counts": (
        "sagas.outbox.attempts",
        "if missing is not None:",
        "if False:",
    ),
    "a letter is rung for where nothing else of its aggregate waits": (
        "sagas.outbox.dead_letters",
        "open_ones.filter(~Exists(held), next_at__lte=Now())",
        "open_ones.filter(next_at__lte=Now())",
    ),
    "a letter is sent again as it was seen": (
        "sagas.outbox.dead_letters",
        "as_seen = failed if seen is None else seen.still(failed)",
        "as_seen = failed",
    ),
    "a letter is discarded as it was seen": (
        "sagas.outbox.discarding",
        "(waiting if seen is None else seen.still(waiting)).first()",
        "waiting.first()",
    ),
    "what was seen of a letter is why it waits": (
        "sagas.outbox.letter_marks",
        "with_cause(letters).filter(cause=self.cause)",
        "with_cause(letters)",
    ),
    "what was seen of a letter that waits is after which attempt": (
        "sagas.outbox.letter_marks",
        "alike.filter(next_at=None, last_at=self.waits_since)",
        "alike",
    ),
    "a producer that only another release hears is left to it": (
        "sagas.outbox.starts",
        "if (consumer, producer) not in listeners():",
        "if False:",
    ),
    "a producer that no release hears any more is left to nobody": (
        "sagas.outbox.starts",
        "if row.said.get(event, 0) <= lately.timestamp():",
        "if False:",
    ),
    "what another release is to handle is no attempt": (
        "sagas.outbox.attempts",
        'DeadLetter.objects.filter(counted).update(attempts=F("attempts") - 1)',
        "pass",
    ),
    "a past is read by a release that listens to all of it": (
        "sagas.outbox.catching_up",
        "if set(row.names) <= listening.get((row.consumer, row.producer), frozenset()):",
        "if True:",
    ),
    "a past that has nothing to be applied is gone through without a pause": (
        "sagas.outbox.catching_up",
        "    return applied, row.read_to > before\n",
        "    return applied, False\n",
    ),
    "a look that was not quiet is not the last": (
        "sagas.outbox.catching_up",
        "past.earlier_horizon(row.producer, row.consumer), False",
        "past.earlier_horizon(row.producer, row.consumer), may_end",
    ),
    "an earlier look has seen the end of what was open then": (
        "sagas.outbox.past",
        "    if not _is_past(context, xid, 0.0):\n        return None\n",
        "",
    ),
    "the last look at a past began after the grace": (
        "sagas.outbox.catching_up",
        "            if may_end:\n                _end(row)",
        "            _end(row)",
    ),
    "what this release does not hear is taken from its consumer before it is settled": (
        "sagas.outbox.republish",
        "left = starts.end_old()",
        "left = frozenset[str]()",
    ),
    "what this release does not hear is taken from its consumer before it is marked": (
        "sagas.outbox.relay",
        "left = starts.end_old()",
        "left = frozenset[str]()",
    ),
    "what another release hears is not settled by the comparison": (
        "sagas.outbox.republish",
        " and row[2] not in left]",
        "]",
    ),
    "what another release hears is not settled by the relay": (
        "sagas.outbox.relay",
        "for row in rows if row[2] not in left]",
        "for row in rows]",
    ),
    "only what was published is marked": (
        "sagas.outbox.relay",
        "if not _publish(context, heard, on_the_spot):\n            return False",
        "_publish(context, heard, on_the_spot)",
    ),
    "what others cannot see yet is not told them": (
        "sagas.outbox.tailing",
        "case Begin(xid) if not self.seen.includes(xid):",
        "case Begin(xid) if self.seen.includes(xid) is None:",
    ),
    "the slot stays where it is when the broker refuses": (
        "sagas.outbox.tailing",
        "if rows and not hand_over(context, rows):\n                raise Refused",
        "if rows:\n                hand_over(context, rows)",
    ),
    "the slot is not moved past what is not seen yet": (
        "sagas.outbox.tailing",
        "elif not look.is_early:",
        "else:",
    ),
    "an event that is marked is not handed over by the log": (
        "sagas.outbox.tailing",
        "WHERE published_at IS NULL ORDER BY number",
        "ORDER BY number",
    ),
    "a session that is cut in a look is a database that is away": (
        "sagas.outbox.tailing",
        "chunked_cursor()) as cursor, cursor:",
        "chunked_cursor()) as cursor:",
    ),
    "a slot above its ceiling is dropped": (
        "sagas.outbox.slots",
        "tail.retained > ceiling and drop_slot(alias)",
        "tail.retained < 0 and drop_slot(alias)",
    ),
    "nobody goes on without the lease of the outside": (
        "sagas.outbox.outside",
        "if not lease.keep():\n            return",
        "lease.keep()",
    ),
    "what waits for the outside is not pruned": (
        "sagas.outbox.pruning",
        "    AND NOT (outside_due AND %s){streamed}\n",
        "    AND %s IS NOT NULL{streamed}\n",
    ),
    "what waits for the stream is not pruned": (
        "sagas.outbox.pruning",
        'if stream.address() else ""',
        'if False else ""',
    ),
    "only what the stream took is not due any more": (
        "sagas.outbox.streaming",
        "        _fail(context, mine, str(away))\n        return None",
        "        _fail(context, mine, str(away))",
    ),
    "nothing is streamed without the lease": (
        "sagas.outbox.streaming",
        "    if mine is None:\n        return None",
        "",
    ),
    "a batch of the stream does not end the run": (
        "sagas.outbox.streaming",
        "        total += sent\n",
        "        total += sent\n        if sent < int(conf.RELAY_BATCH):\n            break\n",
    ),
    "only what was applied is settled": (
        "sagas.outbox.republish",
        "positions.get((row[3], row[4]), 0) >= row[5]",
        "positions.get((row[3], row[4]), 0) >= 0",
    ),
    "a key belongs to one request": (
        "sagas.idempotency.records",
        "if fingerprint != request.fingerprint:",
        "if False:",
    ),
    "a kept answer is given again": (
        "sagas.idempotency.records",
        "        if answer is None:\n            answer = perform()",
        "        if True:\n            answer = perform()",
    ),
    "a second start keeps the lock of the first": (
        "sagas.orchestration.starting",
        "if taking is Taking.TAKEN:",
        "if taking is not Taking.MET:",
    ),
    "a signal that has come before changes nothing": (
        "sagas.orchestration.signals",
        "if before is not None and before[0]:",
        "if False:",
    ),
    "a signal behind another one is late": (
        "sagas.orchestration.signals",
        "if at > number or before is not None:",
        "if at > number:",
    ),
    "a message looks once more at its end": (
        "sagas.orchestration.batch",
        "            if known:\n",
        "            if False:\n",
    ),
    "whose row is held is given back after the others": (
        "sagas.orchestration.batch",
        "        _let_go_of_held(held)\n",
        "        _let_go_of_held([])\n",
    ),
    "who is given back is rung for before a held row is waited for": (
        "sagas.orchestration.claims",
        "    return _free(_GIVE_BACK, claims)\n",
        "    return give_back_held(claims)\n",
    ),
    "a place that the message's own saga leaves is another one's": (
        "sagas.orchestration.claims",
        '"others": 0 if alone else most}',
        '"others": 0 if alone else most - (saga_id is not None)}',
    ),
    "who does not know a definition takes nobody along": (
        "sagas.orchestration.claims",
        '"others": 0 if alone else most}',
        '"others": most}',
    ),
    "what broke a message off is told before what the last look fails of": (
        "sagas.orchestration.batch",
        "                with apart.each():\n                    _ring_for_the_rest(wake)\n",
        "                _ring_for_the_rest(wake)\n",
    ),
    "a batch is carried out though nobody can be rung for": (
        "sagas.orchestration.batch",
        "        with apart.each():  #",
        "        if known:  #",
    ),
    "an act on many goes past the one that a database does not answer": (
        "sagas.admin.acts",
        "    except (OperationalError, InterfaceError) as away:",
        "    except InterfaceError as away:",
    ),
    "what broke a batch off is told before what the giving back fails of": (
        "sagas.orchestration.batch",
        "                with apart.each():\n                    self._let_go_of_all()\n",
        "                self._let_go_of_all()\n",
    ),
    "a machine's clock is compared when the claim is answered": (
        "sagas.orchestration.limits",
        "    return limit <= clock.now(claimed.ahead)\n",
        "    return limit <= clock.now() - (clock.real() - claimed.claimed_at)\n",
    ),
    "who was given back comes before who came later": (
        "sagas.orchestration.claims",
        "(-claim.token, claim.saga_id != saga_id",
        "(claim.saga_id != saga_id",
    ),
    "who is unbegun further on in a link is rung for": (
        "sagas.orchestration.batch",
        "    unbegun = {saga.claimed.cursor: saga",
        "    unbegun = {None: saga",
    ),
    "an act that is refused rings": (
        "sagas.orchestration.audited",
        "        after_commit(lambda: _ring_current(action, saga_id))\n",
        "        if accepted:\n            after_commit(lambda: _ring_current(action, saga_id))\n",
    ),
    "a saga waits for no other queue than its own": (
        "sagas.orchestration.sweep",
        "    return longest, {context: less",
        "    return longest, {} and {context: less",
    ),
    "the id of another saga is refused before a detached context goes on": (
        "sagas.orchestration.asking",
        "    if rows:\n        raise id_taken(new)\n",
        "",
    ),
    "the id of another saga is refused with a sentence": (
        "sagas.orchestration.starting",
        "        if first is None:\n            raise id_taken(new)\n",
        "        assert first is not None\n",
    ),
    "a key that no message answers is removed": (
        "sagas.orchestration.sweep",
        "    if untried is not None and untried > 1:\n",
        "    if False:\n",
    ),
    "one saga that cannot be taken up does not end the sweep": (
        "sagas.orchestration.sweep",
        "            with apart.each():\n                _take_up(row)",
        "            if row:\n                _take_up(row)",
    ),
    "who is overdue is told by the clock of the database": (
        "sagas.orchestration.sweep",
        "limit, now = row[9:14]\n",
        "limit, now = (*row[9:13], __import__('sagas.clock').clock.now())\n",
    ),
}

CONTEXTS = ("orders", "billing", "payments")
RULES = "tests/integration/sagas/test_constraints.py"

# Constraints of the engine's tables, and those that every context has.
CONSTRAINTS = (
    "sagas_clock.sagas_clock_one",
    "sagas_consumer.sagas_consumer_begins_once",
    "sagas_deadletter.sagas_deadletter_once",
    "sagas_lock.sagas_lock_once",
    "sagas_rollout.sagas_rollout_once",
    "sagas_rollout.sagas_rollout_percent",
    "sagas_saga.sagas_saga_cursor",
    "sagas_saga.sagas_saga_finished",
    "sagas_saga.sagas_saga_no_return",
    "sagas_saga.sagas_saga_once",
    "sagas_saga.sagas_saga_parent_step",
    "sagas_saga.sagas_saga_parked_why",
    "sagas_saga.sagas_saga_pending",
    "sagas_saga.sagas_saga_seen",
    "sagas_saga.sagas_saga_status",
    "sagas_saga.sagas_saga_waiting_why",
    "sagas_signal.sagas_signal_consumed",
    "sagas_signal.sagas_signal_once",
    "sagas_steprun.sagas_run_once",
    "sagas_steprun.sagas_run_seen",
    "sagas_steprun.sagas_run_state",
    "sagas_unreadable.sagas_unreadable_once",
    "sagas_watchedflow.sagas_watchedflow_ended_is_ended",
    "sagas_watchedflow.sagas_watchedflow_never_forgotten",
    "sagas_watchedflow.sagas_watchedflow_once",
    "*_barrier.*_barrier_effect",
    "*_event.*_event_number",
    "*_idempotency.*_idempotency_key",
    "*_inbox.*_inbox_once",
    "*_outbox.*_outbox_gapless",
    "*_position.*_position_aggregate",
)
TRIGGERS = (
    "*_event.append_only",
    "sagas_operatoraction.append_only",
    "sagas_saga.ended",
    "sagas_stepfault.append_only",
    "sagas_watchedflow.ended",
)

# Guards that need not be missed, since others say the same.
BESIDE = {
    "outbox.streaming._TAKE: FOR UPDATE SKIP LOCKED": "the order, which holds without a lease",
    "outbox.streaming._TAKE: taken.leased_until IS NOT NULL OR"
    " position = (SELECT min(position) FROM due)": "the lease, which nobody got",
    "choreography.moves._CLAIM: FOR UPDATE SKIP LOCKED": "the token, which fences the first of two",
    "choreography.moves._CLAIM: finished_at IS NULL": "`due_at`, which nothing that ended has",
    "orchestration.barriers._JOURNAL: all of them": "the barrier, which says what the journal says",
    "orchestration.branch_rows._JOIN: all of them": "`_COMMIT` or `_SKIP`, which hold the row",
    "orchestration.waits._SLEEP: all of them": "`_LOCK`, which asked the same of the locked row",
    "orchestration.branch_stops._PARK: all of them": "the branch's fault in the same transaction",
    "what a detached context has recorded is not done again": "the barrier, which is final",
    "orchestration.signals.consume: consumed_at IS NULL": "the lock of the saga's row",
    "the door is closed on a step that never ran": "the fence, while colocated",
    "the door of a compensation is not passed": "the fence, which refuses the move",
    "a batch takes along nothing parked": "the claim's own conditions",
    "a batch takes along nothing that somebody has": "the claim's own conditions",
    "a batch takes along nothing that waits": "the claim's own conditions",
    "orchestration.branch_rows._OPEN: all of them": "the move to it, in the same transaction",
    "orchestration.branch_stops.stop: due_at IS NOT NULL": "the claim, which takes no done branch",
    "a compensation raises the token": "status and cursor, which change with it",
    "sagas_saga.sagas_saga_status": "`sagas_saga_finished`, which knows the same statuses",
}


def mutants() -> dict[str, Mutant]:
    """Return every guard's mutant by its name."""
    made = [*_of_statements(), *_of_python(), *_of_the_database()]
    named = {mutant.name: mutant for mutant in made}
    assert len(named) == len(made), "two guards of one name"
    return dict(sorted(named.items()))


def _of_statements():
    """Each guard alone, and all of a statement together.

    Guards of one statement do each other's work: status, cursor and token all change with a
    cancel. Alone they need not be missed then; together they must.
    """
    for (module, place), several in groupby(guards.found(), lambda g: (g.module, g.place)):
        taken = tuple(several)
        where = f"{module.removeprefix('sagas.')}.{place}"
        if len(taken) > 1:
            yield Mutant(
                name=f"{where}: {ALL}",
                module=module,
                taken=taken,
                asked=asked_of(module),
                beside=BESIDE.get(f"{where}: {ALL}", ""),
            )
        for guard in taken:
            yield Mutant(
                name=f"{where}: {guard.text}",
                module=module,
                taken=(guard,),
                asked=asked_of(module),
                beside=BESIDE.get(f"{where}: {guard.text}", "")
                or ("the others of its statement" if len(taken) > 1 else ""),
            )


def _of_python():
    for name, (module, text, instead) in BY_HAND.items():
        yield Mutant(
            name=name,
            module=module,
            text=text,
            instead=instead,
            asked=asked_of(module),
            beside=BESIDE.get(name, ""),
        )


def _of_the_database():
    for name in (*CONSTRAINTS, *TRIGGERS):
        everywhere = [name.replace("*", context) for context in CONTEXTS if "*" in name] or [name]
        yield Mutant(
            name=name,
            rules=tuple((each.partition(".")[0], each.partition(".")[2]) for each in everywhere),
            asked=(RULES,),
            beside=BESIDE.get(name, ""),
        )


def asked_of(module: str) -> tuple[str, ...]:
    """Return the tests of the longest prefix of a module's name."""
    return next(
        ASKED[prefix] for prefix in sorted(ASKED, reverse=True) if module.startswith(prefix)
    )
