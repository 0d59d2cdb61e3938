import signal
import threading

import pytest
from django.conf import settings

from config import celery
from config.celery import BoundedStop


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_worker_that_hangs_while_it_stops_is_ended(handler):
    ended = threading.Event()
    heard = []

    def hang(number, frame):
        heard.append(number)
        assert ended.wait(30)

    signal.signal(signal.SIGTERM, hang)
    stop = BoundedStop(ended.set, lambda: 0.01)
    stop.install()

    signal.raise_signal(signal.SIGTERM)

    assert heard == [signal.SIGTERM]


def test_a_worker_that_connects_again_is_not_bound_twice(handler):
    heard = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    stop = BoundedStop(lambda: None, lambda: 60.0)
    stop.install()
    stop.install()

    signal.raise_signal(signal.SIGTERM)

    assert heard == [signal.SIGTERM]


def test_without_a_handler_of_celery_nothing_is_bound(handler):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stop = BoundedStop(lambda: None, lambda: 60.0)

    stop.install()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_leaving_says_so_and_leaves_with_one(monkeypatch, caplog):
    codes = []
    monkeypatch.setattr(celery.os, "_exit", codes.append)

    celery.leave_at_once()

    assert codes == [1]
    assert [record.message for record in caplog.records] == ["stop_overdue"]


def test_a_stop_may_take_as_long_as_the_soft_shutdown_and_the_longest_task():
    limits = settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT + settings.SAGAS["HARD_LIMIT"]

    assert celery.longest_stop() == limits + celery.SPARE
