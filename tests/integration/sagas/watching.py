"""What a test looks at in a saga with groups, and how it lets time pass for its branches."""

import json
from datetime import timedelta

from django.db.models.functions import Now

from sagas.models import StepRun
from sagas.orchestration import seen
from sagas.orchestration.sweep import sweep
from sagas.transactions import connection_of
from tests.integration.sagas.conftest import make_due, row


def states(saga_id, direction="do"):
    return dict(
        StepRun.objects.filter(saga_id=saga_id, direction=direction)
        .order_by("step_no")
        .values_list("name", "state")
    )


def shown(saga_id):
    """What `sagas show` says to give to a skip."""
    return ("--seen", str(seen.look(row(saga_id))))


def branch(saga_id, number):
    return StepRun.objects.get(saga_id=saga_id, step_no=number, direction="do")


def make_branches_due(saga_id):
    """Let every wait of a saga's branches be over."""
    past = Now() - timedelta(hours=1)
    left = StepRun.objects.filter(saga_id=saga_id, due_at__isnull=False)
    left.update(due_at=past)
    left.filter(not_before__isnull=False).update(not_before=past)
    left.filter(leased_until__isnull=False).update(leased_until=past)


def bring_to_its_end(broker, saga_id):
    for _ in range(10):
        broker.drain()
        if row(saga_id).finished_at is not None:
            return row(saga_id).status
        make_due(saga_id)
        make_branches_due(saga_id)
        sweep()
    raise AssertionError("it does not end")


def barrier(context, saga_id, number, direction="do"):
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"SELECT state, reply FROM {context}_barrier"
            " WHERE saga_id = %s AND step_no = %s AND direction = %s",
            [saga_id, number, direction],
        )
        state, reply = cursor.fetchone()
        return state, reply and json.loads(reply)
