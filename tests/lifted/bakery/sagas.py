from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F

from bakery.models import Oven
from sagas.api import Command, Rejected, Saga, compensatable, handles, pivot


@dataclass(frozen=True)
class Loaves:
    many: int


class TakeOven(Loaves, Command[None]):
    name = "bakery.TakeOven"


class LeaveOven(Loaves, Command[None]):
    name = "bakery.LeaveOven"


class Bake(Loaves, Command[None]):
    name = "bakery.Bake"


@handles(TakeOven)
def take_oven(command: TakeOven) -> None:
    if not Oven.objects.filter(free__gte=command.many).update(free=F("free") - command.many):
        raise Rejected("oven_full")


@handles(LeaveOven)
def leave_oven(command: LeaveOven) -> None:
    Oven.objects.update(free=F("free") + command.many)


@handles(Bake)
def bake(command: Bake) -> None:
    if command.many > 5:
        raise Rejected("out_of_flour")
    Oven.objects.update(free=F("free") + command.many, baked=F("baked") + command.many)


def build_take(loaves: Loaves) -> TakeOven:
    return TakeOven(loaves.many)


def build_leave(loaves: Loaves) -> LeaveOven:
    return LeaveOven(loaves.many)


def build_bake(loaves: Loaves) -> Bake:
    return Bake(loaves.many)


BAKING = Saga(
    name="bakery.baking",
    version=1,
    state=Loaves,
    deadline=timedelta(minutes=5),
    steps=(compensatable("take", do=build_take, undo=build_leave), pivot("bake", do=build_bake)),
)
