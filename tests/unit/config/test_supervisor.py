import signal
import subprocess
import sys

import psutil
import pytest

from config.supervisor import Child, GivingUp, Output, Supervisor
from tests.processes import eventually

FOREVER = [sys.executable, "-c", "import signal; print('on', flush=True); signal.pause()"]


@pytest.fixture
def pid_file(tmp_path):
    return tmp_path / "pids"


@pytest.fixture
def supervisor(pid_file):
    made = Supervisor(Output(), pid_file)
    yield made
    made.hurry.set()
    made.stop()


def test_a_child_that_dies_is_started_again(supervisor):
    child = Child("one", FOREVER, {})
    supervisor.start(child)
    first = child.process
    first.kill()
    first.wait()

    supervisor.watch()

    assert child.process is not first
    assert child.exit_code is None


def test_a_child_that_dies_at_once_three_times_ends_the_run(supervisor):
    child = Child("one", [sys.executable, "-c", "raise SystemExit(3)"], {})
    supervisor.start(child)

    for _ in range(2):
        child.process.wait()
        supervisor.watch()
    child.process.wait()

    with pytest.raises(GivingUp, match="one ended with 3 for the third time"):
        supervisor.watch()


def test_a_child_that_need_not_live_is_left_alone(supervisor):
    child = Child("demo", [sys.executable, "-c", ""], {}, restarted=False)
    supervisor.start(child)
    first = child.process
    first.wait()

    supervisor.watch()

    assert child.process is first


def test_children_are_stopped_in_the_reverse_order_of_their_start(supervisor, monkeypatch):
    stopped = []
    monkeypatch.setattr(Supervisor, "_stop", lambda _, child: stopped.append(child.name))
    children = [Child("first", FOREVER, {}), Child("second", FOREVER, {})]
    for child in children:
        supervisor.start(child)

    supervisor.stop()
    for child in children:
        child.process.kill()
        child.process.wait()

    assert stopped == ["second", "first"]


def test_a_child_that_does_not_stop_is_killed_when_its_grace_is_over(supervisor):
    ignoring = "import signal; signal.signal(15, signal.SIG_IGN); "
    deaf = f"{ignoring}print('deaf', flush=True); signal.pause()"
    child = Child("deaf", [sys.executable, "-c", deaf], {}, grace=0.1)
    heard = []
    supervisor.output.say = lambda _, line: heard.append(line)
    supervisor.start(child)
    eventually(lambda: "deaf" in heard, 30, "the child ignores the signal")

    supervisor.stop()

    assert child.exit_code == -signal.SIGKILL


def test_what_a_killed_run_left_behind_is_ended_at_the_next_start(pid_file):
    orphan = subprocess.Popen(FOREVER, stdout=subprocess.DEVNULL, start_new_session=True)
    created = psutil.Process(orphan.pid).create_time()
    pid_file.write_text(f"{orphan.pid} {created}\n")

    Supervisor(Output(), pid_file)

    assert not psutil.pid_exists(orphan.pid)
    assert not pid_file.exists()
    orphan.wait()


def test_another_process_that_got_the_same_number_is_left_alone(pid_file):
    stranger = subprocess.Popen(FOREVER, stdout=subprocess.DEVNULL, start_new_session=True)
    pid_file.write_text(f"{stranger.pid} 12345.0\n999999999 1.0\n")

    Supervisor(Output(), pid_file)

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize(
    ("terminal", "no_color", "colored"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_names_are_colored_on_a_terminal_that_wants_it(
    terminal, no_color, colored, monkeypatch, capsys
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("NO_COLOR", no_color)

    Output().say("web", "hello")

    out = capsys.readouterr().out
    assert ("\033[" in out) is colored
    assert out.endswith("hello\n")
