import json
from dataclasses import asdict, replace

from config.chaos.history import Entry, History, Outcome, read
from config.chaos.judge import Found, Money, compare_money, judge
from config.chaos.site import Answer, judged

ORDER = Found(order_id="o1", status="confirmed", total=500, payment_id="p1")
PLACED = Entry(client=0, op="place", key="k1", outcome=Outcome.OK, status=202, order_id="o1")
NO_ANSWER = replace(PLACED, outcome=Outcome.INFO, status=0, order_id="")


def wrong(judgment):
    """Everything that a judgment names."""
    names = ("lost", "duplicated", "stuck", "wrong", "unread", "parked")
    return {name: found for name in names if (found := getattr(judgment, name))}


def test_an_order_that_was_promised_and_is_there_is_fine():
    found = judge([NO_ANSWER, PLACED, PLACED], [ORDER], {"k1": "o1"})

    assert (found.accepted, found.terminal, found.unknown) == (1, 1, 0)
    assert wrong(found) == {}


def test_a_lost_order_is_found():
    assert wrong(judge([PLACED], [], {})) == {"lost": ["order o1"]}


def test_an_order_that_nobody_was_promised_is_found():
    twin = replace(ORDER, order_id="o2")

    assert wrong(judge([PLACED], [ORDER, twin], {"k1": "o1"})) == {"duplicated": ["order o2"]}


def test_a_key_that_was_answered_with_two_orders_is_found():
    second = replace(PLACED, order_id="o2")

    found = judge([PLACED, second], [ORDER, replace(ORDER, order_id="o2")], {"k1": "o1"})

    assert wrong(found) == {"duplicated": ["key k1 was answered with 2 orders"]}


def test_a_key_without_an_answer_stands_for_one_order_or_none():
    there = judge([NO_ANSWER], [ORDER], {"k1": "o1"})
    nothing = judge([NO_ANSWER], [], {})

    assert (wrong(there), there.unknown) == ({}, 1)
    assert (wrong(nothing), nothing.unknown) == ({}, 1)


def test_an_order_of_a_refused_request_is_found():
    refused = replace(PLACED, outcome=Outcome.FAIL, status=422, order_id="")

    found = judge([refused], [ORDER], {"k1": "o1"})

    assert wrong(found) == {
        "duplicated": ["order o1"],
        "wrong": ["key k1 was refused, and order o1 is there"],
    }


def test_a_refusal_of_an_altered_request_says_nothing_of_the_first():
    altered = replace(PLACED, outcome=Outcome.FAIL, status=422, order_id="")

    assert wrong(judge([PLACED, altered], [ORDER], {"k1": "o1"})) == {}


def test_a_stuck_saga_is_found_and_a_parked_one_is_named():
    pending = replace(ORDER, status="pending")
    parked = replace(pending, parked=True)

    assert wrong(judge([PLACED], [pending], {"k1": "o1"})) == {"stuck": ["order o1 is pending"]}
    assert wrong(judge([PLACED], [parked], {"k1": "o1"})) == {"parked": ["o1"]}


def test_an_order_that_was_promised_and_then_not_found_is_named():
    lookup = replace(PLACED, op="read", key="", outcome=Outcome.INFO, status=404)

    assert wrong(judge([PLACED, lookup], [ORDER], {"k1": "o1"})) == {
        "unread": ["order o1 was promised and not found"]
    }


def test_an_end_that_was_shown_and_is_another_now_is_found():
    shown = replace(PLACED, op="read", key="", status=200, seen="failed")

    assert wrong(judge([PLACED, shown], [ORDER], {"k1": "o1"})) == {
        "wrong": ["order o1 was shown as failed and is confirmed"]
    }


def test_a_cancellation_that_was_accepted_holds_and_one_that_was_refused_does_not():
    accepted = replace(PLACED, op="cancel", key="c1")
    refused = replace(accepted, outcome=Outcome.FAIL, status=409, seen="too_late")
    unknown = replace(accepted, outcome=Outcome.INFO, status=0)
    canceled = replace(ORDER, status="canceled")

    assert wrong(judge([PLACED, accepted], [canceled], {})) == {}
    assert wrong(judge([PLACED, refused], [ORDER], {})) == {}
    assert wrong(judge([PLACED, unknown], [ORDER], {})) == {}
    assert wrong(judge([PLACED, accepted], [ORDER], {})) == {
        "wrong": ["order o1: the cancellation was accepted and it is confirmed"]
    }
    assert wrong(judge([PLACED, refused], [canceled], {})) == {
        "wrong": ["order o1: a cancellation was refused (too_late), and it is canceled"]
    }


def test_books_and_provider_that_agree_are_fine():
    paid = {"p1": Money(captured=500, held=0)}

    assert compare_money(paid, paid, [ORDER]) == []


def test_a_double_capture_is_found_though_the_books_know_nothing_of_it():
    books = {"p1": Money(captured=500, held=0)}
    provider = {"p1": Money(captured=1000, held=0)}

    assert len(compare_money(books, provider, [ORDER])) == 2


def test_money_for_a_failed_order_and_a_hold_for_an_ended_one_are_found():
    failed = replace(ORDER, status="failed")
    captured = {"p1": Money(captured=500, held=0)}
    held = {"p1": Money(captured=500, held=500)}

    assert len(compare_money(captured, captured, [failed])) == 1
    assert len(compare_money(held, held, [ORDER])) == 1
    assert compare_money({}, {}, [failed, replace(ORDER, status="pending")]) == []


def test_what_is_not_definite_is_unknown():
    def outcome(status):
        return judged(Answer(status=status, document={}))

    assert outcome(202) is Outcome.OK
    assert {outcome(status) for status in (400, 401, 404, 413, 415, 422)} == {Outcome.FAIL}
    assert {outcome(status) for status in (0, 409, 500, 502, 503)} == {Outcome.INFO}


def test_a_history_is_kept_line_by_line_and_read_again(tmp_path):
    file = tmp_path / "history.jsonl"
    with History(file) as history:
        history.add(NO_ANSWER)
        history.add(PLACED)

    lines = file.read_text().splitlines()
    assert json.loads(lines[1]) == asdict(PLACED)
    assert read(lines) == [NO_ANSWER, PLACED] == history.entries
