"""A definition that could not be carried out is refused when it is imported."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

import pytest

from sagas.api import Command, InvalidDefinition, RetryPolicy, parallel, retriable, sleep
from sagas.core.definition import Kind
from sagas.core.waits import TimeAwaited
from tests.unit.sagas.words import (
    Do,
    OtherState,
    Reply,
    State,
    Undo,
    a_saga,
    ahead,
    backable,
    build_do,
    build_foreign_undo,
    build_nameless,
    deciding,
    keep,
    opened,
)


def test_a_right_definition_knows_its_contexts_and_its_point_of_no_return():
    saga = a_saga()

    assert saga.context == "orders"
    assert saga.contexts == ("orders",) * 4
    assert saga.last == 3
    assert saga.first_retriable == 3
    assert [step.kind for step in saga.steps] == [
        Kind.BEGUN,
        Kind.COMPENSATABLE,
        Kind.PIVOT,
        Kind.RETRIABLE,
    ]


def test_without_retriable_steps_the_point_of_no_return_is_the_end():
    assert a_saga(backable(), deciding()).first_retriable == 2


@pytest.mark.parametrize(
    "steps",
    [
        (deciding(), backable()),
        (ahead(), deciding()),
        (ahead(), backable()),
        (backable(), opened()),
        (deciding(), opened()),
    ],
    ids=lambda steps: " then ".join(step.kind for step in steps),
)
def test_the_order_of_the_kinds_is_fixed(steps):
    with pytest.raises(InvalidDefinition, match=r"begun\?, compensatable\*, pivot\?, retriable\*"):
        a_saga(*steps)


@pytest.mark.parametrize(
    "steps",
    [(deciding("a"), deciding("b")), (opened("a"), opened("b"), backable("c"))],
    ids=["two pivots", "two begun steps"],
)
def test_there_is_one_begun_step_and_one_pivot_at_most(steps):
    with pytest.raises(InvalidDefinition, match="at most one begun step and one pivot"):
        a_saga(*steps)


@pytest.mark.parametrize("steps", [(), (opened(),)], ids=["nothing", "begun only"])
def test_a_saga_has_something_to_carry_out(steps):
    with pytest.raises(InvalidDefinition, match="at least one step to carry out"):
        a_saga(steps=steps)


def test_two_steps_of_one_name_would_share_their_effect_key():
    with pytest.raises(InvalidDefinition, match="two steps are called 'reserve'"):
        a_saga(backable("reserve"), ahead("reserve"))


@pytest.mark.parametrize("name", ["", "two words", "a:b", "9x", "UPPER"])
def test_the_name_of_a_step_is_an_identifier_since_keys_are_made_of_it(name):
    with pytest.raises(InvalidDefinition, match="is no name for a step"):
        a_saga(backable(name))


@pytest.mark.parametrize(
    "changed",
    [{"name": "checkout"}, {"version": 0}, {"deadline": timedelta(0)}],
    ids=["no context", "version 0", "no deadline"],
)
def test_a_saga_has_a_full_name_a_version_and_a_deadline(changed):
    with pytest.raises(InvalidDefinition, match=r"'context\.what', a version from 1 and a dead"):
        a_saga(**changed)


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        (lambda: opened(undo=None), "undo="),
        (lambda: backable(undo=None), "undo="),
        (lambda: backable(do=None), "do="),
        (lambda: deciding(do=None), "do="),
        (lambda: ahead(do=None), "do="),
    ],
    ids=["begun", "not undone", "compensatable", "pivot", "retriable"],
)
def test_a_step_without_its_do_or_its_undo_is_refused(step, missing):
    """It would be met in the middle of a saga, or never: nothing would be undone."""
    step = step()
    with pytest.raises(InvalidDefinition, match=f"step {step.name}: {missing} is missing"):
        a_saga(step, ahead("last"))


def test_what_another_context_did_cannot_be_undone_here():
    with pytest.raises(InvalidDefinition, match=r"billing\.UnitUndo undoes what orders did"):
        a_saga(backable(undo=build_foreign_undo))


def test_the_undo_of_a_begun_step_belongs_to_the_context_of_the_saga():
    with pytest.raises(InvalidDefinition, match=r"billing\.UnitUndo undoes what orders did"):
        a_saga(opened(undo=build_foreign_undo), backable())


def unannotated(state):
    return Do()


def without_state() -> Do:
    return Do()


def of_another_state(state: OtherState) -> Do:
    return Do()


def of_two(state: State, more: State) -> Do:
    return Do()


def returning_the_alias(state: State) -> Command[Reply]:
    return Do()


def returning_any_command(state: State) -> Command:
    return Do()


def returning_text(state: State) -> str:
    return ""


def unreadable(state: "Nowhere") -> Do:  # noqa: F821
    return Do()


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        (unannotated, "must be annotated to return a command"),
        (lambda _: Do(), "must be annotated to return a command"),
        (returning_the_alias, "must be annotated to return a command"),
        (returning_text, "must be annotated to return a command"),
        (returning_any_command, "Command has no name"),
        (build_nameless, "Nameless has no name"),
        (without_state, "the builder takes one State"),
        (of_another_state, "the builder takes one State"),
        (of_two, "the builder takes one State"),
        (unreadable, "annotations cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_builder_says_what_it_takes_and_makes(builder, said):
    with pytest.raises(InvalidDefinition, match=said) as refused:
        a_saga(backable(do=builder))
    assert "step reserve" in str(refused.value)


def test_an_undo_is_checked_as_its_do_is():
    with pytest.raises(InvalidDefinition, match="step reserve: the builder takes one State"):
        a_saga(backable(undo=of_another_state))


def keep_of_another_reply(state: State, reply: Undo) -> State:
    return state


def keep_of_another_state(state: OtherState, reply: Reply) -> State:
    return State()


def keep_into_another_state(state: State, reply: Reply) -> OtherState:
    return OtherState()


def keep_without_reply(state: State) -> State:
    return state


def keep_without_return(state: State, reply: Reply):
    return state


@pytest.mark.parametrize(
    "wrong",
    [
        keep_of_another_reply,
        keep_of_another_state,
        keep_into_another_state,
        keep_without_reply,
        keep_without_return,
    ],
    ids=lambda wrong: wrong.__name__,
)
def test_keep_folds_the_reply_into_the_state(wrong):
    with pytest.raises(InvalidDefinition, match=r"keep takes \(State, Reply\) and returns State"):
        a_saga(backable(keep=wrong))


def test_a_right_keep_is_accepted():
    assert a_saga(backable(keep=keep)).steps[0].keep is keep


def test_a_step_is_skippable_only_if_it_says_so():
    saga = a_saga(
        opened(),
        backable("a"),
        parallel(backable("b"), backable("c", skippable=True)),
        deciding(),
        ahead("d", skippable=True),
        ahead("e"),
    )

    assert [step.name for step in saga.steps if step.skippable] == ["c", "d"]


@pytest.mark.parametrize("verb", [backable, ahead])
def test_a_step_whose_reply_is_kept_cannot_be_skippable(verb):
    with pytest.raises(InvalidDefinition, match="later steps build on its reply; not skippable"):
        a_saga(verb(keep=keep, skippable=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Maybe(Command[Reply | None]):
    name: ClassVar[str] = "orders.UnitMaybe"


def build_maybe(state: State) -> Maybe:
    return Maybe()


def keep_maybe(state: State, reply: Reply | None) -> State:
    return state


def test_a_reply_may_be_optional():
    assert a_saga(backable(do=build_maybe, keep=keep_maybe)).last == 0


def test_a_keep_that_does_not_fit_an_optional_reply_is_refused_with_words():
    with pytest.raises(InvalidDefinition, match="keep takes"):
        a_saga(backable(do=build_maybe, keep=keep))


@dataclass
class Mutable:
    number: int = 0


def build_of_mutable(state: Mutable) -> Do:
    return Do()


def build_of_dict(state: dict) -> Do:
    return Do()


@pytest.mark.parametrize(
    ("state", "builder"),
    [(Mutable, build_of_mutable), (dict, build_of_dict)],
    ids=["not frozen", "no dataclass"],
)
def test_the_state_is_a_frozen_dataclass_since_a_change_in_place_would_not_be_stored(
    state, builder
):
    with pytest.raises(InvalidDefinition, match="the state must be a frozen dataclass"):
        a_saga(ahead(do=builder), state=state)


def test_a_definition_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        a_saga().version = 2


# -- groups and conditions ---


def test_the_branches_of_a_group_are_steps_of_their_own_that_know_where_it_begins():
    saga = a_saga(
        opened(),
        backable("a"),
        parallel(backable("b"), backable("c"), backable("d")),
        deciding(),
        parallel(ahead("e"), ahead("f")),
    )

    assert [step.name for step in saga.steps] == ["open", "a", "b", "c", "d", "pay", "e", "f"]
    assert [step.group for step in saga.steps] == [None, None, 2, 2, 2, None, 6, 6]
    assert [list(saga.branches(number)) for number in (1, 2, 3, 6, 8)] == [
        [],
        [2, 3, 4],
        [],
        [6, 7],
        [],
    ]
    assert [saga.ends_chain(number) for number in range(9)] == [
        False, False, True, False, False, False, True, False, True,
    ]  # fmt: skip


def test_two_groups_may_follow_each_other():
    saga = a_saga(parallel(backable("a"), backable("b")), parallel(backable("c"), backable("d")))

    assert [step.group for step in saga.steps] == [0, 0, 2, 2]
    assert list(saga.branches(0)) == [0, 1]


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ((backable("a"),), r"parallel\(a\): a group has at least two branches"),
        ((), r"parallel\(\): a group has at least two branches"),
        ((backable("a"), ahead("b")), "all compensatable, or all retriable"),
        ((deciding("a"), deciding("b")), "all compensatable, or all retriable"),
        ((opened("a"), backable("b")), "all compensatable, or all retriable"),
        (
            (sleep("a", lasts=timedelta(1)), sleep("b", lasts=timedelta(1))),
            "all compensatable, or all retriable",
        ),
        (
            (backable("a"), parallel(backable("b"), backable("c"))),
            "a group stands in no other group",
        ),
        (
            (backable("a"), backable("b", within=timedelta(minutes=1))),
            r"no branch has within=: the saga's deadline bounds a group",
        ),
    ],
    ids=["one", "none", "mixed", "pivots", "begun", "waits", "nested", "timed"],
)
def test_what_stands_beside_each_other_is_of_one_kind(branches, said):
    with pytest.raises(InvalidDefinition, match=said):
        parallel(*branches)


def test_a_time_for_a_step_that_could_not_be_kept_is_refused():
    with pytest.raises(InvalidDefinition, match="step reserve: within=0:00:00: a step takes long"):
        a_saga(backable(within=timedelta(0)))
    with pytest.raises(InvalidDefinition, match=r"within=365 days.*deadline of .* comes"):
        a_saga(backable(within=timedelta(days=365)))
    assert a_saga(ahead(within=timedelta(days=365))).steps[0].within == timedelta(days=365)


def test_a_group_keeps_the_order_of_the_kinds_and_the_names_unique():
    with pytest.raises(InvalidDefinition, match="the order is begun"):
        a_saga(deciding(), parallel(backable("a"), backable("b")))
    with pytest.raises(InvalidDefinition, match="two steps are called 'a'"):
        a_saga(backable("a"), parallel(backable("a"), backable("b")))


def test_what_stands_side_by_side_has_another_fingerprint_than_what_follows():
    beside = a_saga(parallel(backable("a"), backable("b")))
    after = a_saga(backable("a"), backable("b"))

    assert beside.fingerprint != after.fingerprint


def is_ready(state: State) -> bool:
    return True


def says_nothing(state: State):
    return True


def of_two_states(state: State, other: State) -> bool:
    return True


def test_a_condition_takes_the_state_and_returns_a_bool():
    assert a_saga(backable(when=is_ready)).steps[0].when is is_ready
    for wrong in (says_nothing, of_two_states, build_do):
        with pytest.raises(InvalidDefinition, match="when takes one State and returns a bool"):
            a_saga(deciding(when=wrong))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ".nothing"}, "'.nothing': needs a name like 'context.what'"),
        ({"name": "orders."}, "'orders.': needs a name"),
        ({"name": "a b.x\ny"}, r"'a b.x\ny': needs a name"),
        ({"name": "orders.x\n"}, r"'orders.x\n': needs a name"),
        ({"share": 500}, "orders.unit: share=500 is no percentage: from 0 to 100"),
        ({"share": -1}, "orders.unit: share=-1 is no percentage"),
    ],
    ids=str,
)
def test_names_and_shares_that_nothing_could_be_done_with_are_refused(changed, said):
    with pytest.raises(InvalidDefinition, match=re.escape(said)):
        a_saga(**changed)


@pytest.mark.parametrize("share", [0, 100])
def test_nobody_and_everybody_are_shares(share):
    assert a_saga(share=share).share == share


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (RetryPolicy(max_attempts=-1), "max_attempts=-1: at least 1"),
        (RetryPolicy(max_attempts=0), "max_attempts=0: at least 1"),
        (RetryPolicy(base=-5), "base and cap from 0"),
        (RetryPolicy(cap=-5), "base and cap from 0"),
    ],
    ids=str,
)
def test_a_retry_policy_is_possible(retry, said):
    with pytest.raises(InvalidDefinition, match=f"step reserve: .*{said}"):
        a_saga(replace(backable("reserve"), retry=retry))


def test_the_least_that_a_retry_policy_may_say_is_accepted():
    step = replace(backable(), retry=RetryPolicy(base=0, cap=0, max_attempts=1))

    assert a_saga(step).steps[0].retry.max_attempts == 1


def test_nobody_sleeps_past_the_deadline_while_it_counts():
    half = timedelta(seconds=30)
    rest, doze = sleep("rest", lasts=half), sleep("doze", lasts=half)
    night = sleep("night", lasts=timedelta(days=1))

    assert a_saga(rest, doze, deciding(), night)
    with pytest.raises(InvalidDefinition, match=r"step doze: by then the saga has slept 0:01:30"):
        a_saga(rest, replace(doze, awaits=TimeAwaited(lasts=2 * half)), deciding())
    with pytest.raises(InvalidDefinition, match=r"step night: .* deadline of 0:01:00"):
        a_saga(night, deciding())


@dataclass(frozen=True, kw_only=True, slots=True)
class Blank(Command[None]):
    name: ClassVar[str] = "a b.Do\n"


def build_blank(state: State) -> Blank:
    return Blank()


def test_a_command_is_named_like_a_saga():
    with pytest.raises(InvalidDefinition, match=r"'a b.Do\\n' is no name like 'context.What'"):
        a_saga(retriable("ahead", do=build_blank))
