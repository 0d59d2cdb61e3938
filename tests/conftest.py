"""Fixtures and hooks of the whole suite."""

import itertools
import os
import random
import shutil

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from config import settings as project
from tests.committed import CommittedDatabases
from tests.processes import Processes


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="order of the tests; else random")
    parser.addoption("--schedule", type=int, default=None, help="the interleaving to play again")
    parser.addoption("--schedules", type=int, default=None, help="how many interleavings, if long")
    parser.addoption("--write", action="store_true", help="keep what the mutants showed")
    parser.addoption("--missing", action="store_true", help="only mutants of which nothing is kept")


def pytest_configure(config):
    given = config.getoption("--seed")
    handed = getattr(config, "workerinput", {}).get("shuffle_seed", given)
    config.shuffle_seed = random.randrange(10**6) if handed is None else handed


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's: all of its processes collect in one order
def pytest_configure_node(node):
    node.workerinput["shuffle_seed"] = node.config.shuffle_seed


def pytest_report_header(config):
    return f"order: --seed={config.shuffle_seed}, instance: {os.environ['EMBEDDED_INSTANCE']}"


@pytest.hookimpl(tryfirst=True)  # before pytest-django puts the transactional tests last
def pytest_collection_modifyitems(config, items):
    if "MUTANT" in os.environ:  # asks the likeliest first, and none that takes guards out itself
        items[:] = [item for item in items if not any(map(_takes_out, item.fixturenames))]
        return
    shuffle = random.Random(config.shuffle_seed).shuffle
    files = [list(group) for _, group in itertools.groupby(items, lambda item: item.path)]
    shuffle(files)
    for group in files:
        shuffle(group)
    items[:] = itertools.chain.from_iterable(files)
    fit_to_databases(items)
    if not chromium():
        for item in items:
            if "browser" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


def _takes_out(fixture):
    return fixture.startswith("without")


def fit_to_databases(items):
    for item in items:
        for mark in item.iter_markers("django_db"):
            # Where each context has a database of its own, a test may ask all of them.
            mark.kwargs.setdefault("databases", "__all__")
        if settings.CONTEXT_DATABASES and "colocated" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="contexts are detached"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    processes = item.funcargs.get("processes") if hasattr(item, "funcargs") else None
    if report.failed and processes:
        for running in processes.started:
            report.sections.append((f"{running.name} ({running.pid})", running.output()[-4000:]))
    return report


# The test run's own, not the project's.
OF_THE_RUN = {"ALLOWED_HOSTS", "CONTEXT_DATABASES", "DATABASES", "DEBUG", "EMAIL_BACKEND"}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """A test that leaves a setting changed fails itself, and not some other one after it."""
    yield
    said = {name: value for name, value in vars(project).items() if name.isupper()}
    left = [
        name
        for name in sorted(set(said) - OF_THE_RUN)
        if getattr(settings, name, None) != said[name]
    ]
    if left:
        for name in left:
            setattr(settings, name, said[name])
        pytest.fail(f"left as it set them: {', '.join(left)}; take pytest's fixture `settings`")


def chromium():
    """The browser that the browser tests drive, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(autouse=True)
def unhurried(settings):
    """A link or a delivery in a test's own process is not cut short because the machine is slow."""
    slices = {"TIME_SLICE": 60.0, "DELIVERY_SLICE": 60.0}
    settings.SAGAS = {**settings.SAGAS, **slices, "STEP_TIMEOUT": 120.0}


# Seconds. All end before the deadline of the trial saga, which is of five minutes.
LASTING = {
    "LEASE": 60.0,
    "VISIBILITY": 120.0,
    "DELAY_BASE": 30.0,
    "DELAY_CAP": 60.0,
    "HINT_GRACE": 20.0,
    "HINT_CAP": 100.0,
    "BUSY_GRACE": 60.0,
    "RELAY_LEASE": 60.0,
    "OUTSIDE_LEASE": 60.0,
    "REPUBLISH_AFTER": 30.0,
    "WATCH_INTERVAL": 20.0,
}


@pytest.fixture
def lasting(unhurried, settings):
    """A lease, a delay or a grace is over when the test says so, and not because it is slow.

    For tests without processes, which the fast profile lets wait for real, and not for long.
    """
    settings.SAGAS = {**settings.SAGAS, **LASTING}
    settings.PAYMENT_PROVIDER_TIMEOUT = 20.0


@pytest.fixture(scope="session")
def django_db_setup(request, django_test_environment, django_db_blocker):
    """The test database, made also when no test of the run bears pytest-django's own mark."""
    verbosity = request.config.option.verbose
    if "MUTANT" in os.environ:  # runs on the database of the run that has started it
        yield
        return
    with django_db_blocker.unblock():
        made = setup_databases(
            verbosity=verbosity,
            interactive=False,
            aliases=set(connections),
            serialized_aliases=set(),
        )
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=verbosity)


@pytest.fixture(scope="session")
def database_as_migrated(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        return CommittedDatabases()


@pytest.fixture
def committed_db(database_as_migrated, django_db_blocker):
    """A database in which the test really commits; it is as migrated before and after."""
    with django_db_blocker.unblock():
        database_as_migrated.restore()
        empty_redis()
        yield
        connections.close_all()
        database_as_migrated.restore()


@pytest.fixture
def processes(committed_db):
    """Starts real processes on the test database; all are ended after the test."""
    started = Processes()
    yield started
    started.stop_all()


@pytest.fixture(scope="session")
def session_provider(django_db_setup, django_db_blocker):
    """The simulated provider at settings.PAYMENT_PROVIDER_URL, once for the whole run."""
    with django_db_blocker.unblock():
        started = Processes()
        running = started.provider()
    yield running
    started.stop_all()


def empty_redis():
    """Drop every message and key; on another broker than Redis, its queues' messages too."""
    # A Redis that was away in one test is asked again in the next.
    from sagas.orchestration import wakes  # once Django is ready

    wakes._silence.until = 0.0
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()
    if settings.CELERY_BROKER_URL.startswith(("amqp", "pyamqp")):
        with current_app.connection_for_write() as connection:
            for queue in settings.CELERY_TASK_QUEUES:
                bound = queue.bind(connection.default_channel)
                bound.declare()
                bound.purge()
