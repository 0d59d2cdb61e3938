"""The engine in a project of somebody else: `sagas/` copied beside it, and nothing else of ours.

The project stands in `tests/lifted`: its settings, one context, one saga. It runs in a directory
of its own, on a database of its own, with a real migrate, worker and beat.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from psycopg import sql

from config.chaos.injections.messages import RUBBISH
from config.embedded import die_with_parent
from tests.architecture.source import ROOT
from tests.processes import eventually

DATABASE = "lifted"
BROKER = settings.REDIS_URL.replace("db=1", "db=7")
LIFTED = ROOT / "tests" / "lifted"


def server(name):
    options = connection.get_connection_params()
    own = {key: options[key] for key in ("host", "port", "user", "password") if key in options}
    return psycopg.connect(dbname=name, autocommit=True, **own)


@pytest.fixture
def database(committed_db):
    """An empty database beside the tests' own."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
    with server("postgres") as admin:
        admin.execute(drop)
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    with server(DATABASE) as opened:
        yield opened
    with server("postgres") as admin:
        admin.execute(drop)


class Project:
    """The copy of the project, and what runs of it."""

    def __init__(self, directory):
        self.directory = directory
        self.running = []
        shutil.copytree(LIFTED, directory, dirs_exist_ok=True)
        shutil.copytree(
            ROOT / "sagas", directory / "sagas", ignore=shutil.ignore_patterns("__pycache__")
        )
        options = connection.get_connection_params()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(directory),
            "PYTHONUNBUFFERED": "1",
            "PGDATABASE": DATABASE,
            "PGUSER": options.get("user", ""),
            "PGHOST": options.get("host", ""),
            "PGPORT": str(options.get("port", "")),
            "PGPASSWORD": options.get("password", ""),
            "BROKER_URL": settings.CELERY_BROKER_URL.replace("virtual_host=0", "virtual_host=7"),
            "REDIS_URL": settings.REDIS_URL.replace("db=1", "db=6"),
        }

    def run(self, *words):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *words):
        return self.run("manage.py", *words)

    def celery(self, *words):
        log = self.directory / f"{words[0]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "lifted", *words],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509
            )
        self.running.append(process)
        return log

    def stop(self):
        for process in self.running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def project(database, tmp_path):
    made = Project(tmp_path)
    yield made
    made.stop()


START = """
    from bakery.models import Oven
    from bakery.sagas import BAKING, Loaves
    from sagas.api import start, transaction
    Oven.objects.create(free=10)
    for many in (3, 9, 50):
        with transaction("bakery"):
            start(BAKING, Loaves(many), key=str(many))
"""


def ends(database):
    rows = database.execute(
        "SELECT key, status, failure FROM sagas_saga WHERE finished_at IS NOT NULL"
    )
    return {key: (status, failure) for key, status, failure in rows.fetchall()}


@pytest.mark.timeout(180)
def test_a_project_that_has_only_the_engine_runs_its_own_saga(project, database):
    alone = project.run("-c", "import importlib.util as u; print(u.find_spec('config'))")
    assert alone == "None\n", "nothing of ours but the engine is in reach"
    project.manage("makemigrations", "bakery")
    project.manage("migrate")
    worker = project.celery("worker", "-Q", "steps,fresh,events,ticks", "-c", "1", "-l", "INFO")
    beat = project.celery("beat", "-s", str(project.directory / "schedule"))
    with redis.Redis.from_url(BROKER) as client:
        client.lpush("steps", *RUBBISH.values())
    project.manage("shell", "-c", textwrap.dedent(START))

    eventually(lambda: len(ends(database)) == 3 or None, 60, "three sagas end")
    assert ends(database) == {
        "3": ("completed", None),
        "9": ("compensated", "out_of_flour"),
        "50": ("compensated", "oven_full"),
    }
    assert database.execute("SELECT free, baked FROM bakery_oven").fetchall() == [(10, 3)]
    eventually(lambda: "sagas.relay" in worker.read_text() or None, 30, "the ticks come")
    trouble = re.compile(r"Traceback|ERROR|CRITICAL")
    assert [line for line in worker.read_text().splitlines() if trouble.search(line)] == []
    assert worker.read_text().count("message_unreadable") == len(RUBBISH)
    assert [line for line in beat.read_text().splitlines() if trouble.search(line)] == []
    defined = json.loads(project.manage("sagas", "definitions", "--json"))["definitions"]
    assert [(each["name"], each["living"]) for each in defined] == [("bakery.baking", 0)]


def test_it_needs_no_schema_but_one_for_its_functions(project, database):
    project.manage("makemigrations", "bakery")
    project.manage("migrate", "--verbosity", "0")

    found = database.execute(
        "SELECT nspname, count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c"
        " ON c.relnamespace = n.oid AND c.relkind = 'r'"
        " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [(name, tables > 0) for name, tables in found] == [("public", True), ("sagas", False)]
    [(moved,)] = database.execute("SELECT sagas.now() - clock_timestamp() < '1 second'").fetchall()
    assert moved is True
    elsewhere = "SELECT proname FROM pg_proc WHERE prosrc ~ 'sagas\\.sagas_'"
    assert database.execute(elsewhere).fetchall() == [], "functions find the tables where they are"
    project.manage("check", "--database", "default", "--fail-level", "WARNING")


APP_IN_A_PACKAGE = """
from django.apps import AppConfig


class BakeryConfig(AppConfig):
    name = "shop.bakery"
    label = "bakery"
"""
HEARD = """


class Loaf(Aggregate):
    pass


class Heard(models.Model):
    text = models.TextField()
"""
LISTENER = """
from dataclasses import dataclass
from typing import ClassVar

from sagas.api import Event, on
from shop.bakery.models import Heard


@dataclass(frozen=True, kw_only=True, slots=True)
class Baked(Event):
    name: ClassVar[str] = "bakery.Baked"

    text: str


@dataclass(frozen=True)
class Seen:
    text: str


@on("bakery.Baked")
def hear(seen: Seen) -> None:
    Heard.objects.create(text=seen.text)
"""
TELL = """
    from sagas.api import publish, transaction
    from sagas.outbox.delivery import deliver
    from sagas.outbox.subscriptions import consumers_of
    from shop.bakery.handlers import Baked
    from shop.bakery.models import Loaf
    with transaction("bakery"):
        event = publish(Baked(text="bread"), aggregate=Loaf.objects.create())
    for consumer in consumers_of("bakery.Baked"):
        deliver("bakery", consumer, [str(event)])
"""
RELAY = """
    from sagas.outbox.relay import relay
    relay()
"""


def move_into_a_package(directory):
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").write_text("")
    bakery = (directory / "bakery").rename(directory / "shop" / "bakery")
    (bakery / "apps.py").write_text(APP_IN_A_PACKAGE)
    models = (bakery / "models.py").read_text()
    models = models.replace("import (\n", "import (\n    Aggregate,\n")
    (bakery / "models.py").write_text(models + HEARD)
    sagas = (bakery / "sagas.py").read_text()
    (bakery / "sagas.py").write_text(sagas.replace("from bakery.", "from shop.bakery."))
    (bakery / "handlers.py").write_text(LISTENER)
    settings_of_it = directory / "lifted" / "settings.py"
    settings_of_it.write_text(settings_of_it.read_text().replace('"bakery"', '"shop.bakery"'))


def test_an_app_that_lies_in_a_package_hears_events_under_its_label(project, database):
    move_into_a_package(project.directory)
    project.manage("makemigrations", "bakery")
    project.manage("migrate", "--verbosity", "0")
    project.manage("shell", "-c", textwrap.dedent(TELL))

    assert database.execute("SELECT text FROM bakery_heard").fetchall() == [("bread",)]
    assert database.execute("SELECT sequence FROM bakery_position").fetchall() == [(1,)]


def test_its_events_are_kept_for_good_and_no_row_of_them_is_changed(project, database):
    move_into_a_package(project.directory)
    project.manage("makemigrations", "bakery")
    project.manage("migrate", "--verbosity", "0")
    project.manage("shell", "-c", textwrap.dedent(TELL) + textwrap.dedent(RELAY))

    kept = database.execute("SELECT type, number FROM bakery_event").fetchall()
    assert kept == [("bakery.Baked", 1)]
    for change in ("UPDATE bakery_event SET number = 2", "DELETE FROM bakery_event"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="bakery_event is append-only"):
            database.execute(change)
    verdict = json.loads(project.manage("events", "verify", "--json"))
    assert verdict == {"streams": 1, "events": 1, "rows": 0, "differences": []}


def test_its_saga_is_written_in_less_than_forty_lines():
    lines = (LIFTED / "bakery" / "sagas.py").read_text().splitlines()

    assert len([line for line in lines if line.strip()]) < 40


def test_what_the_document_says_of_the_settings_is_what_the_project_has():
    written = (ROOT / "docs" / "lifting-out.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", written, re.DOTALL)
    settings_of_it = (LIFTED / "lifted" / "settings.py").read_text()

    assert [line for line in block.splitlines() if line not in settings_of_it.splitlines()] == []
