"""A definition's fingerprint: what changes it, what does not, and the words for what differs."""

from dataclasses import dataclass, make_dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

import pytest

from sagas.api import (
    Command,
    RetryPolicy,
    Saga,
    begun,
    compensatable,
    pivot,
    retriable,
    sleep,
    wait_for,
)
from sagas.core.fingerprint import difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    id: UUID
    weight: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeavyParcel:
    id: UUID
    weight: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    tracking: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Send(Command[Sent]):
    name: ClassVar[str] = "orders.SendParcel"
    id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class SendQuickly(Command[Sent]):
    name: ClassVar[str] = "orders.SendParcel"
    id: UUID
    express: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CallBack(Command[None]):
    name: ClassVar[str] = "orders.CallParcelBack"


def send(parcel: Parcel) -> Send:
    return Send(id=parcel.id)


def send_otherwise(parcel: Parcel) -> Send:
    return Send(id=UUID(int=parcel.id.int))


def send_quickly(parcel: Parcel) -> SendQuickly:
    return SendQuickly(id=parcel.id, express=True)


def send_heavy(parcel: HeavyParcel) -> Send:
    return Send(id=parcel.id)


def call_back(parcel: Parcel) -> CallBack:
    return CallBack()


def keep(parcel: Parcel, sent: Sent) -> Parcel:
    return parcel


OPEN = begun("open", undo=call_back)
SEND = compensatable("send", do=send, undo=call_back)
TELL = retriable("tell", do=send)


def parcels(*steps, state=Parcel, **changed):
    given = {"name": "orders.parcel", "version": 1, "deadline": timedelta(hours=1), **changed}
    return Saga(state=state, steps=steps or (OPEN, SEND, TELL), **given)


BEFORE = parcels()


def test_the_fingerprint_of_today_is_the_one_of_tomorrow():
    """Written out: a change of how it is made would refuse every saga that lives."""
    assert BEFORE.fingerprint == "9a2920be0553dc54:42d4:45f8:466c:e785"


@pytest.mark.parametrize(
    "after",
    [
        parcels(),
        parcels(deadline=timedelta(days=9)),
        parcels(OPEN, replace(SEND, retry=RetryPolicy(max_attempts=99)), TELL),
        parcels(OPEN, replace(SEND, do=send_otherwise), TELL),
        parcels(OPEN, replace(SEND, skippable=True), replace(TELL, skippable=True)),
    ],
    ids=["nothing", "deadline", "retry policy", "body of a builder", "what may be skipped"],
)
def test_what_an_instance_does_not_rely_on_changes_nothing(after):
    assert after.fingerprint == BEFORE.fingerprint


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            parcels(retriable("tell", do=send_heavy), state=HeavyParcel),
            "the fields of its state or its lock have changed; what was step 1, 2 is gone",
        ),
        (
            parcels(OPEN, replace(SEND, do=send_quickly), TELL),
            "step 2 (send) is not what step 2 was",
        ),
        (parcels(OPEN, replace(SEND, keep=keep), TELL), "step 2 (send) is not what step 2 was"),
        (parcels(OPEN, replace(SEND, name="post"), TELL), "step 2 (post) is not what step 2 was"),
        (parcels(OPEN, SEND, pivot("tell", do=send)), "step 3 (tell) is not what step 3 was"),
        (parcels(OPEN, TELL), "what was step 2 is gone"),
        (parcels(OPEN, SEND, pivot("pay", do=send), TELL), "step 3 (pay) is new"),
        (
            parcels(OPEN, replace(SEND, within=timedelta(minutes=1)), TELL),
            "step 2 (send) is not what step 2 was",
        ),
        (parcels(version=2), "it is another one"),
    ],
    ids=["state", "field", "keep", "name", "kind", "less", "more", "time", "version"],
)
def test_what_an_instance_relies_on_changes_it_and_is_named(after, words):
    assert after.fingerprint != BEFORE.fingerprint
    assert difference(after, BEFORE.fingerprint) == words


def test_the_length_of_a_steps_time_is_not_in_it():
    short, long = (
        parcels(OPEN, replace(SEND, within=timedelta(minutes=minutes)), TELL) for minutes in (1, 9)
    )

    assert short.fingerprint == long.fingerprint


def test_a_fingerprint_that_says_nothing_of_steps_is_another_one():
    assert difference(BEFORE, "of an older making") == "it is another one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    name: str
    leaves: tuple["Branch", ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prune(Command[None]):
    name: ClassVar[str] = "orders.Prune"


def prune(branch: Branch) -> Prune:
    return Prune()


def test_a_state_that_holds_itself_has_a_fingerprint():
    saga = parcels(retriable("prune", do=prune), state=Branch)

    assert len(saga.fingerprint.split(":")) == 3


def test_a_wait_is_known_by_what_it_waits_for_and_not_by_how_long():
    hour, day = timedelta(hours=1), timedelta(days=1)

    def waiting(*steps):
        return parcels(*steps, TELL, deadline=2 * day).fingerprint

    assert waiting(sleep("rest", lasts=hour)) == waiting(sleep("rest", lasts=day))
    signals = {
        waiting(wait_for("look", signal=Sent, within=hour)),
        waiting(wait_for("look", signal=Sent, within=day)),
        waiting(wait_for("look", signal=Seen, within=day)),
        waiting(wait_for("look", signal=Seen, within=day, otherwise="go_on")),
    }
    assert len(signals) == 3


def colored(*colors, called="Color"):
    """The fingerprint of a definition whose state has a color."""
    enum = StrEnum(called, {color.upper(): color for color in colors})
    state = make_dataclass("Painted", [("color", enum)], frozen=True)

    def call(painted):
        return CallBack()

    call.__annotations__ = {"painted": state, "return": CallBack}
    return parcels(retriable("call", do=call), state=state).fingerprint


def test_an_enum_is_known_by_its_values_and_not_by_its_name():
    """A value that is gone could not be read back."""
    before = colored("red", "blue")

    assert colored("blue", "red", called="Colour") == before
    assert len({before, colored("blue"), colored("red", "green")}) == 3
