"""Ids, keys, delays, settings and correlation."""

import contextlib
import importlib
import pickle
import pkgutil
import re
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sagas
from sagas import correlation
from sagas.conf import Conf, conf
from sagas.core.commands import Rejected, Unknown, context_of, reply_type
from sagas.core.errors import SagasError
from sagas.core.keys import Direction, effect_key
from sagas.core.retry import DEFAULT, RetryPolicy
from sagas.ids import uuid7
from sagas.transactions import table
from tests.unit.sagas.words import Do, Reply, Undo

# -- ids and keys ---------------------------------------------------------------------------------


def test_an_id_is_a_uuid_of_version_7():
    made = uuid7()

    assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_ids_sort_by_the_millisecond_in_which_they_were_made(monkeypatch):
    now = time.time_ns()
    made = []
    for later in (0, 1, 2, 1000, 86_400_000):
        monkeypatch.setattr(time, "time_ns", lambda later=later: now + later * 1_000_000)
        made.append(uuid7())

    assert made == sorted(made)
    assert [str(i) for i in made] == sorted(str(i) for i in made)
    assert made[0].int >> 80 == now // 1_000_000


def test_ids_of_one_millisecond_differ():
    assert len({uuid7() for _ in range(5000)}) == 5000


def test_an_effect_has_one_key_for_ever():
    saga = UUID(int=1)

    assert effect_key(saga, "pay", Direction.DO) == f"{saga}:pay:do"
    assert effect_key(saga, "pay", Direction.UNDO) == f"{saga}:pay:undo"


def test_names_say_which_context_and_which_reply():
    assert context_of("orders.PlaceOrder") == "orders"
    assert reply_type(Do) is Reply
    assert reply_type(Undo) is type(None)


@pytest.mark.parametrize("context", ["", "a-b", "a b", "A", "9", 'x";--', "a.b"])
def test_a_context_that_could_change_the_sql_is_refused(context):
    with pytest.raises(ValueError, match=f"^{re.escape(context)}$"):
        table(context, "outbox")


# -- exceptions -----------------------------------------------------------------------------------


for module in pkgutil.walk_packages(sagas.__path__, "sagas."):
    importlib.import_module(module.name)  # whatever else of the suite is run beside this


def every_exception(cls=SagasError):
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("sagas."):
            yield sub
            yield from every_exception(sub)


@pytest.mark.parametrize("cls", sorted(set(every_exception()), key=str), ids=lambda c: c.__name__)
def test_an_exception_survives_the_way_through_a_result_backend(cls):
    again = pickle.loads(pickle.dumps(cls("why")))

    assert (type(again), str(again)) == (cls, "why")
    assert str(cls()), "without a message it says what its docstring says"


def test_a_rejection_carries_its_reason():
    assert Rejected("out_of_stock").reason == "out_of_stock"
    assert not issubclass(Unknown, Rejected)


# -- delays ---------------------------------------------------------------------------------------


@given(
    attempts=st.integers(min_value=-5, max_value=10**9),
    base=st.floats(min_value=0.001, max_value=100),
    cap=st.floats(min_value=0.001, max_value=10_000),
)
def test_a_delay_never_exceeds_the_cap_and_never_vanishes(attempts, base, cap):
    delay = DEFAULT.delay(attempts, base=base, cap=cap)

    assert 0.75 * min(base, cap) <= delay <= cap


@given(attempts=st.integers(min_value=1, max_value=30))
def test_each_delay_is_twice_the_one_before_but_for_the_jitter(attempts):
    delay = DEFAULT.delay(attempts, base=1, cap=10**12)

    assert 0.75 * 2 ** (attempts - 1) <= delay <= 2 ** (attempts - 1)


def test_the_policy_of_a_step_goes_before_the_setting():
    policy = RetryPolicy(base=5, cap=5)

    assert 3.75 <= policy.delay(9, base=100, cap=1000) <= 5


def test_delays_of_sagas_that_failed_together_are_spread():
    assert len({DEFAULT.delay(3, base=1, cap=60) for _ in range(20)}) > 10


# -- settings -------------------------------------------------------------------------------------


def test_every_setting_has_a_default_and_may_be_overridden(settings):
    names = [name for name in vars(Conf) if name.isupper()]
    settings.SAGAS = {}
    defaults = {name: getattr(conf, name) for name in names}
    settings.SAGAS = dict.fromkeys(names, 7)

    assert [name for name, value in defaults.items() if value <= 0] == ["EVERY_STEP_TO_DISK"]
    assert {getattr(conf, name) for name in names} == {7.0}


# -- correlation ----------------------------------------------------------------------------------

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_well_formed_trace_goes_on():
    begun = correlation.begin(traceparent=CALLER, correlation_id="from-outside")

    assert begun.traceparent == CALLER
    assert begun.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert begun.correlation_id == "from-outside"


@pytest.mark.parametrize("given", [None, "", "00-xyz", CALLER.upper(), CALLER + "-more", "\n"])
def test_a_malformed_trace_is_replaced(given):
    begun = correlation.begin(traceparent=given)

    assert begun.traceparent != given
    assert begun.trace_id is not None
    assert len(begun.correlation_id) == 32


def test_without_a_trace_there_is_no_trace_id():
    assert correlation.Correlation(correlation_id="c").trace_id is None


def test_a_correlation_holds_inside_its_block_and_the_outer_one_returns():
    outer = correlation.begin()
    inner = correlation.begin()
    assert correlation.current() is None
    with correlation.correlated(outer):
        with contextlib.suppress(RuntimeError), correlation.correlated(inner):
            assert correlation.current_or_new() is inner
            raise RuntimeError
        assert correlation.current() is outer
    assert correlation.current() is None


def test_outside_a_block_each_asker_gets_a_new_one():
    assert correlation.current_or_new() != correlation.current_or_new()
