"""What the registry refuses: sagas and handlers that do not fit together."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from sagas.api import Command, InvalidDefinition, handles, handles_remote
from sagas.orchestration import handlers, registry
from tests.unit.sagas.words import (
    AnsweringUndo,
    Do,
    Reply,
    State,
    Undo,
    a_saga,
    ahead,
    backable,
    build_answering_undo,
    deciding,
)


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    monkeypatch.setattr(handlers, "HANDLERS", {})
    monkeypatch.setattr(registry, "SAGAS", {})


def do(command: Do) -> Reply:
    return Reply(number=1)


def undo(command: Undo) -> None:
    """Safe to repeat: does nothing."""


def answer_undo(command: AnsweringUndo) -> Reply:
    return Reply(number=1)


def handle_locally():
    handles(Do)(do)
    handles(Undo)(undo)


def intend(command: Do) -> int:
    return 1


def call(command: Do, intent: int) -> int:
    """Safe to repeat: does nothing."""
    return 1


def record(command: Do, intent: int, outcome: int) -> Reply:
    return Reply(number=outcome)


def test_a_saga_whose_commands_are_handled_is_found_by_name_and_version():
    handle_locally()
    saga = registry.add(a_saga())

    assert registry.get("orders.unit", 1) is saga


def test_the_same_definition_may_be_seen_twice():
    handle_locally()
    saga = a_saga()

    assert registry.add(saga) is registry.add(saga) is saga


def test_another_definition_of_a_known_version_is_refused():
    handle_locally()
    registry.add(a_saga())

    with pytest.raises(InvalidDefinition, match=r"orders\.unit version 1 is defined twice"):
        registry.add(a_saga())


def test_an_instance_ends_on_the_version_it_began_with():
    handle_locally()
    old, new = registry.add(a_saga()), registry.add(a_saga(version=2))

    assert (registry.get("orders.unit", 1), registry.get("orders.unit", 2)) == (old, new)


@pytest.mark.parametrize(("name", "version"), [("orders.unit", 2), ("orders.nothing", 1)])
def test_an_unknown_definition_is_said_to_be_unknown(name, version):
    handle_locally()
    registry.add(a_saga())

    with pytest.raises(registry.UnknownSaga, match=f"{name} version {version} is not defined here"):
        registry.get(name, version)


def test_a_command_nobody_handles_is_refused_with_the_remedy():
    handles(Undo)(undo)

    with pytest.raises(InvalidDefinition, match=r"no handler for orders\.UnitDo: decorate one"):
        registry.add(a_saga())
    assert registry.SAGAS == {}


def test_an_undo_nobody_handles_is_refused():
    handles(Do)(do)

    with pytest.raises(InvalidDefinition, match=r"no handler for orders\.UnitUndo"):
        registry.add(a_saga())


def test_an_undo_that_answers_is_refused():
    handle_locally()
    handles(AnsweringUndo)(answer_undo)

    with pytest.raises(InvalidDefinition, match="step reserve: an undo has no reply"):
        registry.add(a_saga(backable(undo=build_answering_undo)))


def test_a_remote_pivot_must_be_able_to_make_a_no_final():
    handles_remote(Do, intent=intend, call=call)(record)

    with pytest.raises(InvalidDefinition, match="step pay: a remote pivot needs close="):
        registry.add(a_saga(deciding()))


def test_a_remote_pivot_that_can_be_closed_is_accepted():
    handles_remote(Do, intent=intend, call=call, close=call)(record)

    assert registry.add(a_saga(deciding()))


def test_a_remote_step_that_is_no_pivot_needs_no_close():
    handles_remote(Do, intent=intend, call=call)(record)
    handles(Undo)(undo)

    assert registry.add(a_saga(backable()))


def test_a_command_has_one_handler():
    handle_locally()

    def another(command: Do) -> Reply:
        return Reply(number=2)

    with pytest.raises(InvalidDefinition, match=r"orders\.UnitDo has two handlers"):
        handles(Do)(another)


def test_two_handlers_of_one_name_in_two_modules_are_two_handlers():
    handle_locally()

    def elsewhere(command: Do) -> Reply:
        return Reply(number=2)

    elsewhere.__qualname__ = do.__qualname__
    elsewhere.__module__ = "orders.elsewhere"

    with pytest.raises(InvalidDefinition, match="two handlers"):
        handles(Do)(elsewhere)


def test_a_module_that_is_imported_again_registers_the_same_handler():
    handle_locally()
    handle_locally()

    assert handlers.handler_of(Do).carry_out is do


def test_a_handler_returns_what_its_command_promises():
    def silent(command: Do) -> None:
        return None

    with pytest.raises(InvalidDefinition, match=r"orders\.UnitDo promises Reply"):
        handles(Do)(silent)
    assert "orders.UnitDo" not in handlers.HANDLERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Maybe(Command[Reply | None]):
    name: ClassVar[str] = "orders.UnitMaybe"


def test_an_optional_reply_is_compared_by_what_it_says():
    def maybe(command: Maybe) -> Reply | None:
        return None

    handles(Maybe)(maybe)
    assert handlers.handler_of(Maybe).carry_out is maybe


def test_a_handler_that_does_not_fit_an_optional_reply_is_refused_with_words():
    def always(command: Maybe) -> Reply:
        return Reply(number=1)

    with pytest.raises(InvalidDefinition, match=r"orders\.UnitMaybe promises"):
        handles(Maybe)(always)


@dataclass(frozen=True, kw_only=True, slots=True)
class Nowhere(Command[None]):
    name: ClassVar[str] = "nowhere.Do"


def build_nowhere(state: State) -> Nowhere:
    return Nowhere()


def test_a_context_that_does_not_exist_is_refused_with_those_that_do():
    handle_locally()
    said = r"nowhere\.unit: nowhere is no context; .* here billing, orders, payments"

    with pytest.raises(InvalidDefinition, match=said):
        registry.add(a_saga(deciding(), name="nowhere.unit"))
    saga = a_saga(ahead(do=build_nowhere))
    with pytest.raises(InvalidDefinition, match=r"orders\.unit: nowhere is no context"):
        registry.add(saga)
    assert registry.SAGAS == {}
