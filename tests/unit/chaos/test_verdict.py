import pytest

from config.chaos.catalog import BY_ID
from config.chaos.figures import Life, back_after, quantile, rate, recovery
from config.chaos.judge import Judgment
from config.chaos.plan import Injection
from config.chaos.stage import Record
from config.chaos.verdict import (
    Ending,
    InvariantLine,
    Verdict,
    Word,
    by_fault,
    fault_line,
    is_evidenced,
    merged,
)

F13 = BY_ID["F13"]
F49 = BY_ID["F49"]


def a_record(fault="F13", in_flight=4, **facts):
    injection = Injection(
        fault=fault,
        lane=str(BY_ID[fault].lane),
        at=0.0,
        way="",
        how="child",
        victim=0,
        seconds=1.0,
    )
    return Record(injection=injection, facts=facts, in_flight=in_flight, began=100.0, healed=101.0)


def took(*seconds, unfinished=0):
    lives = [
        Life(saga_id=str(number), began=90.0, ended=101.0 + wait)
        for number, wait in enumerate(seconds)
    ]
    lives += [Life(saga_id=f"u{number}", began=90.0, ended=None) for number in range(unfinished)]
    return recovery(lives, [(100.0, 101.0, ())])


def test_an_injection_counts_only_with_all_its_facts():
    assert is_evidenced(F13, a_record(gone=True))
    assert not is_evidenced(F13, a_record(gone=False))
    assert not is_evidenced(F13, a_record())


def test_an_injection_into_an_idle_system_shows_nothing():
    assert not is_evidenced(F13, a_record(gone=True, in_flight=0))
    assert is_evidenced(F49, a_record("F49", sent=True, in_flight=0))


def test_a_fault_with_two_evidenced_hits_is_shown_and_with_one_is_void():
    twice = [a_record(gone=True), a_record(gone=True), a_record(gone=False)]
    once = [a_record(gone=True), a_record(gone=False), a_record()]

    shown = fault_line(F13, twice, took(1.0, 2.0))
    void = fault_line(F13, once, took(1.0, 2.0))

    assert (shown.injected, shown.evidence, shown.verdict) == (3, 2, Word.OK)
    assert (void.injected, void.evidence, void.verdict) == (3, 1, Word.VOID)
    assert "no gone" in void.why


def test_a_fault_that_was_never_injected_is_void():
    line = fault_line(F13, [], took())

    assert (line.verdict, line.why) == (Word.VOID, "too few injections")


@pytest.mark.parametrize(
    ("recovered", "holds", "verdict"),
    [
        (took(1.0), True, Word.OK),
        (took(20.0), True, Word.SLOW),
        (took(1.0, unfinished=1), True, Word.RED),
        (took(1.0), False, Word.RED),
    ],
)
def test_a_fault_is_judged_by_its_recovery_and_its_own_promise(recovered, holds, verdict):
    records = [a_record(gone=True, parent_lives=holds) for _ in range(3)]

    assert fault_line(F13, records, recovered).verdict is verdict


def test_recovery_counts_what_was_under_way_between_blow_and_heal():
    lives = [
        Life(saga_id="before", began=1.0, ended=9.0),
        Life(saga_id="ended in the middle", began=1.0, ended=10.5),
        Life(saga_id="slow", began=1.0, ended=15.0),
        Life(saga_id="began in the middle", began=10.5, ended=13.0),
        Life(saga_id="after", began=12.0, ended=30.0),
        Life(saga_id="parked", began=5.0, ended=None, parked=True),
    ]

    found = recovery(lives, [(10.0, 11.0, ())])

    assert (found.sagas, found.unfinished, found.parked) == (4, 0, 1)
    assert (found.p50, found.p95, found.longest) == (2.0, 4.0, 4.0)


def test_recovery_counts_those_alone_that_were_touched_where_they_are_known():
    lives = [
        Life(saga_id="touched", began=1.0, ended=15.0),
        Life(saga_id="waiting", began=1.0, ended=19.0),
    ]

    assert recovery(lives, [(10.0, 11.0, ("touched",))]).longest == 4.0


def test_the_rate_is_back_when_a_window_holds_nine_tenths_of_the_base_line():
    lives = [Life(saga_id=str(n), began=0.0, ended=20.0 + n / 10) for n in range(100)]

    assert rate(lives, 20.0, 30.0) == 10.0
    assert back_after(lives, 18.0, 40.0, 10.0) == (pytest.approx(6.5), pytest.approx(9.0, abs=0.3))
    assert back_after(lives, 18.0, 40.0, 20.0) == (None, pytest.approx(10.0))
    assert rate(lives, 5.0, 5.0) == 0.0


def test_a_quantile_is_one_of_the_values():
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([], 0.95) == 0.0


ENDING = {
    "base_line": 10.0,
    "rate_after": 9.5,
    "back_after": 6.0,
    "rest_after": 8.0,
    "bound": 60.0,
    "had_load": True,
}


def a_verdict(judgment=None, faults=None, lines=None, **ending):
    return Verdict(
        seed=42,
        plan="9f3c00000000",
        revision="abc",
        mode="safety",
        faults=[fault_line(F13, [a_record(gone=True)] * 3, took(4.1, 9.8, 12.0))]
        if faults is None
        else faults,
        invariants=[InvariantLine(id="I1", name="money", checked=18_204)]
        if lines is None
        else lines,
        judgment=judgment or Judgment(accepted=18, terminal=18),
        ending=Ending(**ENDING | ending),
        history="runs/history.jsonl",
    )


def test_the_table_has_a_line_for_each_fault_each_invariant_and_the_totals():
    who = "seed 42  plan 9f3c00000000  revision abc  base line 10.0/s"
    seen = "snapshots 0, 0 while the database was away; deaths that nobody meant: 0"

    assert a_verdict().lines() == [
        "fault   injected  evidence  in-flight  recovery p50/p95/max    verdict",
        "F13            3         3          3  9.8 / 12.0 / 12.0 s     ok",
        "inv         checked  violations  worst case                              verdict",
        "I1           18,204           0  -                                       ok",
        "totals  accepted 18  terminal 18  lost 0  duplicated 0  stuck 0  wrong 0  parked 0",
        f"{who}  after heal 9.5/s in 6 s  rest after 8.0 s",
        f"{seen}; history runs/history.jsonl",
    ]
    assert a_verdict().complaints() == []
    assert a_verdict().as_dict()["ok"] is True


@pytest.mark.parametrize(
    ("judgment", "said"),
    [
        (Judgment(accepted=1, lost=["order 1"]), "lost: order 1"),
        (Judgment(accepted=1, duplicated=["order 2"]), "duplicated: order 2"),
        (Judgment(accepted=1, stuck=["order 3"]), "stuck: order 3"),
        (Judgment(accepted=1, wrong=["order 4"]), "wrong: order 4"),
        (Judgment(accepted=1, unread=["order 5"]), "unread: order 5"),
        (Judgment(accepted=1, unknown=1), "1 keys were never answered"),
        (Judgment(), "void: the workload had finished before the heal"),
    ],
)
def test_one_wrong_order_makes_the_run_red(judgment, said):
    verdict = a_verdict(judgment)

    assert verdict.complaints() == [said]
    assert verdict.lines()[-1] == f"RED  {said}"
    assert verdict.as_dict()["ok"] is False


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ({"had_load": False}, "void: the workload had finished before the heal"),
        ({"rest_after": None}, "no rest within 60 s of the heal"),
        ({"back_after": None, "rate_after": 3.0}, "the rate is not back: 3.0/s of 10.0/s"),
    ],
)
def test_an_ending_without_load_rest_or_rate_makes_the_run_red(ending, said):
    assert a_verdict(**ending).complaints() == [said]


def test_without_orders_after_the_heal_no_rate_is_asked_for():
    verdict = a_verdict(back_after=None, workload_goes_on=False)

    assert verdict.complaints() == []
    assert "no orders after heal" in verdict.lines()[5]


def test_a_void_fault_and_a_violated_or_unseen_invariant_make_the_run_red():
    void = fault_line(F13, [a_record(gone=True)], took(1.0))
    lines = [
        InvariantLine(id="I2", name="books", checked=5, violations=1, worst="entry 7"),
        InvariantLine(id="I3", name="once", checked=0),
    ]

    assert a_verdict(faults=[void], lines=lines).complaints() == [
        "F13 is void: too few injections",
        "I2 is red: entry 7",
        "I3 is void: nothing was looked at",
    ]


def test_an_invariant_is_added_up_over_all_snapshots():
    lines = [
        InvariantLine(id="I1", name="money", checked=3),
        InvariantLine(id="I1", name="money", checked=4, violations=1, worst="first"),
        InvariantLine(id="I1", name="money", checked=5, violations=1, worst="second"),
    ]

    [line] = merged(lines)

    assert (line.checked, line.violations, line.worst) == (12, 2, "first")


def test_injections_are_sorted_by_fault_in_the_order_of_the_catalog():
    found = by_fault([a_record("F49"), a_record("F13"), a_record("F49")])

    assert [(name, len(records)) for name, records in found.items()] == [("F13", 1), ("F49", 2)]
