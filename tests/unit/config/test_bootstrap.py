import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import bootstrap

ROOT = Path(__file__).parents[3]


def test_the_first_command_finds_its_environment_without_any_variable():
    done = subprocess.run(
        [os.path.realpath(sys.executable), "manage.py", "help", "up"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "--workers" in done.stdout


def test_a_changed_lock_is_installed_again(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.txt"
    lock.write_text("one")
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path))
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    assert not bootstrap._installed(str(lock))

    Path(bootstrap._stamp(str(lock))).write_text(bootstrap._fingerprint(str(lock)))
    assert bootstrap._installed(str(lock))

    lock.write_text("two")
    assert not bootstrap._installed(str(lock))


def test_a_pip_with_another_hash_is_not_run(monkeypatch):
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda *_, **__: 1)
    monkeypatch.setattr(
        bootstrap.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"something else")
    )

    with pytest.raises(SystemExit, match="is not the expected one"):
        bootstrap._pip()


def test_an_old_python_with_no_newer_one_beside_it_says_what_is_needed(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)

    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        bootstrap._newest_python()


@pytest.mark.parametrize(
    ("arguments", "divided"),
    [
        ([], True),
        (["-q"], True),
        (["--seed", "11"], True),
        (["--seed=11", "--durations", "5"], True),
        (["tests/unit"], False),
        (["-m", "long"], False),
        (["-n", "4"], False),
        (["-x"], False),
    ],
)
def test_two_processes_share_the_suite_unless_a_part_is_chosen(arguments, divided, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    assert bool(bootstrap._divided(arguments)) is divided


def test_where_nothing_may_be_written_beside_the_source_bytecode_is_kept_elsewhere(monkeypatch):
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    started = []
    monkeypatch.setattr(os, "execv", lambda *_: started.append(dict(os.environ)))
    bootstrap.run_tests(["--lint"])

    [environment] = started
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["PYTHONPYCACHEPREFIX"] == f"{bootstrap.ROOT}/var/pycache"


def test_bytecode_that_may_stand_beside_the_source_does(monkeypatch):
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    started = []
    monkeypatch.setattr(os, "execv", lambda *_: started.append(dict(os.environ)))
    bootstrap.run_tests(["--lint"])

    assert "PYTHONPYCACHEPREFIX" not in started[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "1"),
        ({"CONTEXT_ROLES": "0"}, "0"),
        ({"CONTEXT_ROLES": "1", "DATABASE_URL": "postgresql://of-your-own"}, "1"),
        ({"DATABASE_URL": "postgresql://of-your-own"}, None),
    ],
)
def test_on_its_own_servers_the_suite_runs_as_the_roles_unless_told_otherwise(
    given, told, monkeypatch
):
    for name in ("CONTEXT_ROLES", "DATABASE_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(os, "execv", lambda *_: started.append(dict(os.environ)))
    bootstrap.run_tests([])

    assert started[0].get("CONTEXT_ROLES") == told
