"""What is put off through no fault of a saga: told of for good, in rows whose number is bounded."""

import pytest
from django.db import IntegrityError

from sagas import failpoints
from sagas.api import Postponed, cancel
from sagas.conf import conf
from sagas.models import StepFault
from sagas.orchestration import status
from tests.integration.admin.world import saga_page, signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_breaker import come_again
from tests.integration.sagas.test_commands import document, said
from tests.integration.sagas.test_constraints import FAULT, tried
from tests.integration.sagas.test_link_ends import raising


def put_off(text="the bank does not answer"):
    def raised():
        postponed = Postponed(text)
        postponed.wait = 0.0
        raise postponed

    return raised


def faults(saga_id):
    found = StepFault.objects.filter(saga_id=saga_id).order_by("at")
    return list(found.values_list("name", "direction", "kind", "times"))


def test_however_often_it_is_put_off_it_is_one_row_with_the_first_and_the_last_time(broker):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    first = StepFault.objects.get(saga_id=saga_id)
    come_again(saga_id, broker, 30)

    assert faults(saga_id) == [("hold", "do", "postponed", 31)]
    last = StepFault.objects.get(saga_id=saga_id)
    assert (last.id, last.first_at, first.first_at) == (first.id, first.at, None)
    assert last.at > first.at
    assert last.next_at == row(saga_id).not_before
    assert (row(saga_id).attempts, row(saga_id).parked_at) == (0, None)


def test_each_step_and_each_way_has_a_row_of_its_own(broker):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 3)
    cancel(saga_id, reason="no", by="alice")
    trial.SCRIPT["release"] = put_off("still away")
    come_again(saga_id, broker, 4)

    [forward, back] = faults(saga_id)
    assert forward == ("hold", "do", "postponed", 4)
    assert back[:3] == ("hold", "undo", "postponed")
    assert back[3] > 1


def test_a_fault_in_between_is_a_row_and_begins_another(broker):
    """So what happened can be read in its order, and attempts bound the rows."""
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 1)
    for _ in range(2):
        trial.SCRIPT["hold"] = raising(RuntimeError("down"))
        come_again(saga_id, broker, 1)
    trial.SCRIPT["hold"] = put_off()
    come_again(saga_id, broker, 2)

    assert [(kind, times) for *_, kind, times in faults(saga_id)] == [
        ("postponed", 2),
        ("fault", 1),
        ("fault", 1),
        ("postponed", 2),
    ]
    assert row(saga_id).attempts == 2


def test_put_off_and_failing_by_turns_a_saga_is_parked_with_a_bounded_history(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 4}
    saga_id = trial.begin()
    while row(saga_id).parked_at is None:
        trial.SCRIPT["hold"] = put_off()
        come_again(saga_id, broker, 3)
        trial.SCRIPT["hold"] = raising(RuntimeError("down"))
        come_again(saga_id, broker, 1)

    assert len(faults(saga_id)) == 2 * conf.MAX_ATTEMPTS


def test_a_worker_killed_after_its_postponement_is_committed_has_counted_it_once(broker):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()

    class Killed(BaseException):
        pass

    def die(name, detail):
        if name == "fault.committed":
            raise Killed

    with failpoints.listening(die), pytest.raises(Killed):
        come_again(saga_id, broker, 1)
    assert faults(saga_id) == [("hold", "do", "postponed", 2)]
    come_again(saga_id, broker, 1)
    assert faults(saga_id) == [("hold", "do", "postponed", 3)]


def test_rows_of_a_release_that_wrote_one_each_time_are_left_and_the_last_one_counts(broker):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    first = StepFault.objects.get(saga_id=saga_id)
    values = {field.name: getattr(first, field.name) for field in StepFault._meta.fields}
    del values["id"], values["at"]
    StepFault.objects.create(**values)

    come_again(saga_id, broker, 2)
    assert [times for *_, times in faults(saga_id)] == [1, 3]


@pytest.mark.parametrize(
    "change",
    [
        "times = times + 2",
        "times = times",
        "times = times + 1",
        "times = times + 1, first_at = at, at = at - interval '1 second'",
        "times = times + 1, first_at = now() + interval '1 hour'",
        "times = times + 1, first_at = at, kind = 'fault'",
        "times = times + 1, first_at = at, name = 'other'",
    ],
)
def test_the_database_lets_a_postponement_count_and_change_in_nothing_else(broker, change):
    saga_id = trial.begin()
    tried([FAULT.replace("'fault'", "'postponed'")], saga_id)

    with pytest.raises(IntegrityError, match="sagas_stepfault is append-only"):
        tried([f"UPDATE sagas_stepfault SET {change}"], saga_id)
    tried(["UPDATE sagas_stepfault SET times = times + 1, first_at = at"], saga_id)
    assert StepFault.objects.get(saga_id=saga_id).times == 2
    with pytest.raises(IntegrityError, match="sagas_stepfault is append-only"):
        tried(["DELETE FROM sagas_stepfault"], saga_id)


def test_the_screens_say_how_often_and_since_when(broker):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 6)

    page = signed_in("administrator").get(saga_page(saga_id)).content.decode()
    assert "(7 times since " in page
    assert "was put off 7 times" in page
    assert "was put off (7 times), last " in page
    assert "postponed: Postponed: the bank does not answer (7 times)" in said("show", saga_id)[0]
    [told] = document("show", saga_id)[0]["faults"]
    assert (told["times"], told["first_at"] < told["at"]) == (7, True)
    assert status.saga_status(saga_id).last_fault_kind == "postponed"


def test_what_was_put_off_is_counted_in_the_metric_of_faults(broker, client):
    trial.SCRIPT["hold"] = put_off()
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 2)

    text = client.get("/metrics").content.decode()
    assert 'concord_step_faults_last_hour{kind="postponed",step="hold"} 3.0' in text
