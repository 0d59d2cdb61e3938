"""A saga starts exactly once under its business key, and what a second start is answered."""

import random
from collections import Counter
from importlib import import_module
from uuid import UUID

import pytest

from sagas.api import Again, AlreadyStarted, IdTaken, UnfitKey, start, transaction, uuid7
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import registry
from sagas.statements import cursor_of
from sagas.transactions import ENGINE
from tests.integration.sagas import locking, trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_versions import SECOND
from tests.together import raised, together

STARTERS = 20


def begin(key="order-1", *, again=Again.SAME, saga=trial.TRIAL):
    saga_id = uuid7()
    with transaction("orders"):
        state = trial.TrialState(subject=saga_id)
        return start(saga, state, key=key, saga_id=saga_id, again=again)


def test_another_state_under_the_key_is_the_first_saga_with_the_state_it_began_with(broker):
    first = begin()
    broker.take()

    assert begin() == first, "its subject was another one"
    assert row(first).state["subject"] == str(first)
    assert broker.take() == []


def test_another_version_under_the_key_is_the_first_saga(broker, monkeypatch):
    first = begin()
    monkeypatch.setitem(registry.SAGAS, (SECOND.name, SECOND.version), SECOND)

    assert begin(saga=SECOND) == first
    assert row(first).def_version == 1


def test_the_key_of_a_saga_that_has_ended_is_still_taken(broker):
    first = begin()
    broker.drain()

    assert begin() == first
    assert broker.take() == []


@pytest.mark.parametrize(
    ("key", "again"), [("order-1", Again.AFTER_END), *(("order-2", each) for each in Again)]
)
def test_the_id_of_another_saga_is_refused_and_the_callers_transaction_left_alone(
    broker, key, again
):
    first = begin()
    broker.drain()
    state = trial.TrialState(subject=first)
    with transaction("orders"):
        with pytest.raises(IdTaken, match=f"{first} is the id of another saga"):
            start(trial.TRIAL, state, key=key, saga_id=first, again=again)
        start(trial.TRIAL, state, key="order-3")

    assert sorted(SagaInstance.objects.values_list("key", flat=True)) == ["order-1", "order-3"]


def test_the_same_key_under_another_name_is_another_saga(broker):
    locking.register()

    assert locking.begin(locking.CHANGE, uuid7(), key="order-1") != begin()


def test_a_second_start_that_is_to_be_refused_names_the_first_saga(broker):
    first = begin()
    with pytest.raises(AlreadyStarted) as refused:
        begin(again=Again.REFUSE)

    assert str(refused.value) == f"orders.trial order-1 was started before: saga {first}"
    assert refused.value.saga_id == first
    assert begin("order-2", again=Again.REFUSE) != first


def test_after_the_end_a_new_one_starts_and_not_before(broker):
    runs = []
    for number in (1, 2, 3):
        runs.append(begin(again=Again.AFTER_END))
        assert begin(again=Again.AFTER_END) == runs[-1], "it runs"
        broker.drain()
        assert row(runs[-1]).key == ("order-1" if number == 1 else f"order-1#{number}")

    assert len(set(runs)) == 3
    assert begin() == runs[0]


def test_what_a_second_start_is_answered_may_be_said_as_a_word(broker):
    """Taken for neither of those that it is compared with, it started a second saga."""
    first = begin()
    broker.drain()

    assert begin(again="same") == first
    with pytest.raises(AlreadyStarted):
        begin(again="refuse")
    with pytest.raises(ValueError, match="'once' is not a valid Again"):
        begin(again="once")
    assert SagaInstance.objects.count() == 1
    assert begin(again="after_end") != first


@pytest.mark.parametrize("again", [Again.SAME, Again.AFTER_END])
def test_of_twenty_starters_at_once_one_starts_and_all_get_its_id(broker, again):
    ids = together(*[lambda: begin(again=again)] * STARTERS)

    assert raised(ids) == []
    assert len(set(ids)) == 1
    assert SagaInstance.objects.count() == 1
    assert StepRun.objects.count() == 1, "its begun step"
    assert len(broker.take()) == 1


def test_of_twenty_starters_at_once_all_but_one_are_refused(broker):
    answers = together(*[lambda: begin(again=Again.REFUSE)] * STARTERS)

    assert Counter(type(answer).__name__ for answer in answers) == {"UUID": 1, "AlreadyStarted": 19}
    [saga] = SagaInstance.objects.all()
    assert {getattr(answer, "saga_id", answer) for answer in answers} == {saga.id}


def test_of_twenty_starters_after_the_end_one_starts_the_next_run(broker):
    first = begin()
    broker.drain()
    ids = together(*[lambda: begin(again=Again.AFTER_END)] * STARTERS)

    assert raised(ids) == []
    assert first not in ids
    assert len(set(ids)) == 1
    assert sorted(SagaInstance.objects.values_list("key", flat=True)) == ["order-1", "order-1#2"]


def test_when_the_first_starter_rolls_back_the_second_starts(broker):
    class Abandoned(Exception):
        pass

    def abandon():
        with transaction("orders"):
            start(trial.TRIAL, trial.TrialState(subject=uuid7()), key="order-1")
            raise Abandoned

    outcomes = together(abandon, begin)
    assert [type(each).__name__ for each in outcomes] == ["Abandoned", "UUID"]
    assert SagaInstance.objects.get().id == outcomes[1]


@pytest.mark.parametrize("again", list(Again))
@pytest.mark.parametrize("key", ["order-1#2", "#0", "two\nlines#12", "order-1#2#3"])
def test_a_key_like_that_of_a_later_run_is_refused_with_what_to_do(broker, key, again):
    with pytest.raises(UnfitKey, match="is that of a later run: end it otherwise, or give the key"):
        begin(key, again=again)
    assert SagaInstance.objects.count() == 0


@pytest.mark.parametrize("key", ["order-1#", "order-1#a", "order#1-2", "#2a", "2"])
def test_a_key_with_a_number_or_a_hash_elsewhere_is_a_key_like_any_other(broker, key):
    assert row(begin(key)).key == key


def begun_before_such_keys_were_refused(key):
    saga_id = begin("another")
    SagaInstance.objects.filter(id=saga_id).update(key=key)
    return saga_id


def test_a_later_run_is_not_a_saga_that_a_caller_started_under_such_a_key(broker):
    foreign = begun_before_such_keys_were_refused("order-1#2")
    first = begin(again=Again.AFTER_END)
    broker.drain()

    second = begin(again=Again.AFTER_END)
    assert second not in {first, foreign}
    assert begin(again=Again.AFTER_END) == second, "it runs"
    assert row(second).key == "order-1#3"
    broker.drain()
    assert row(begin(again=Again.AFTER_END)).key == "order-1#4"


def test_a_saga_that_has_such_a_key_since_before_is_still_found_under_it(broker):
    foreign = begun_before_such_keys_were_refused("order-1#2")

    assert begin("order-1#2") == foreign
    with pytest.raises(AlreadyStarted):
        begin("order-1#2", again=Again.REFUSE)


def test_the_key_of_a_run_does_not_lead_a_caller_to_it(broker):
    begin(again=Again.AFTER_END)
    broker.drain()
    assert row(begin(again=Again.AFTER_END)).key == "order-1#2"

    with pytest.raises(UnfitKey):
        begin("order-1#2")


def test_a_run_that_a_release_without_numbers_began_beside_this_one_is_the_one_that_runs(broker):
    begin(again=Again.AFTER_END)
    broker.drain()
    second = begin(again=Again.AFTER_END)
    SagaInstance.objects.filter(id=second).update(run=1)

    assert begin(again=Again.AFTER_END) == second, "it runs"
    broker.drain()
    assert row(begin(again=Again.AFTER_END)).key == "order-1#3"


def test_of_rows_of_before_the_run_that_lives_is_numbered_and_no_callers_own(broker):
    for _ in range(2):
        begin(again=Again.AFTER_END)
        broker.drain()
    third = begin(again=Again.AFTER_END)
    begin("order-2")
    foreign = begun_before_such_keys_were_refused("order-2#2")
    living = SagaInstance.objects.filter(finished_at=None)
    living.update(run=1)

    numbering = import_module("sagas.migrations.0009_run")
    with cursor_of(ENGINE) as cursor:
        cursor.execute(numbering._NUMBER)
    assert (row(third).run, row(foreign).run) == (3, 1)
    assert begin(again=Again.AFTER_END) == third


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("k" * 1001, "a business key of 1001 bytes; 1000 are the most"),
        ("\u00e9" * 600, "a business key of 1200 bytes; 1000 are the most"),
        ("a\x00", "a business key has a zero byte, or half of a surrogate pair"),
        ("a\x00#2", "a business key has a zero byte, or half of a surrogate pair"),
        ("\ud800", "a business key has a zero byte, or half of a surrogate pair"),
        ("", "a business key is empty: all who have none would share one saga"),
        (UUID(int=7), r"a business key is a text, and UUID\(.*\) is none: write str\(key\)"),
        (None, "a business key is a text, and None is none"),
    ],
)
def test_a_key_that_cannot_be_stored_is_refused_with_a_sentence(broker, key, said):
    with pytest.raises(UnfitKey, match=said):
        begin(key)
    assert SagaInstance.objects.count() == 0


def test_the_longest_key_is_stored(broker):
    chance = random.Random(1)
    longest = "".join(chr(chance.randrange(33, 126)) for _ in range(1000))

    assert row(trial.begin(key=longest)).key == longest
