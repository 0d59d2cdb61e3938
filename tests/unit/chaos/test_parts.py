import io
import threading

from config.chaos.armory import Armory
from config.chaos.catalog import BY_ID
from config.chaos.injections.messages import arguments, broken
from config.chaos.progress import Progress
from config.chaos.servers import wait_for
from sagas import failpoints


def test_a_place_is_armed_inside_the_block_alone(tmp_path):
    armory = Armory(tmp_path / "failpoints")
    file = armory.environment["CONCORD_FAILPOINTS_FILE"]

    with armory.armed("claim.committed", "stop") as mark, armory.armed("link.ended", "kill"):
        assert (tmp_path / "failpoints").read_text() == "claim.committed=stop\nlink.ended=kill"
        assert mark == failpoints.mark(file, "claim.committed")
        assert not armory.await_hit(mark, 0.01)
        mark.touch()
        assert armory.await_hit(mark, 0.01)
    assert (tmp_path / "failpoints").read_text() == ""


def test_what_an_earlier_run_has_hit_is_forgotten(tmp_path):
    mark = failpoints.mark(str(tmp_path / "failpoints"), "link.ended")
    mark.touch()

    armory = Armory(tmp_path / "failpoints")

    assert not mark.exists()
    mark.touch()
    with armory.armed("link.ended", "stop"):
        assert not mark.exists()


def test_a_place_is_armed_by_one_fault_at_a_time(tmp_path):
    armory = Armory(tmp_path / "failpoints")
    seen = []

    def other():
        with armory.armed("link.ended", "kill"):
            seen.append((tmp_path / "failpoints").read_text())

    with armory.armed("link.ended", "stop"):
        thread = threading.Thread(target=other)
        thread.start()
        assert (tmp_path / "failpoints").read_text() == "link.ended=stop"
    thread.join(5)

    assert seen == ["link.ended=kill"]


def test_a_line_of_the_brokers_monitor_is_read_with_its_quotes():
    line = rb'1700000000.1 [0 unix:/x] "LPUSH" "concord:steps" "{\"a\": \"b\\\\c\"}"'

    assert arguments(line) == [b"LPUSH", b"concord:steps", rb'{"a": "b\\c"}']
    assert arguments(b"OK") == []


def test_messages_are_broken_in_different_ways():
    ways = BY_ID["F40"].ways

    assert len({broken(way, "steps")[:400].split(b"chaos-")[0] for way in ways}) == len(ways)


def test_waiting_ends_when_it_holds_or_the_time_is_over():
    seen = iter([False, True])

    assert wait_for(lambda: next(seen), 5, 0.001)
    assert not wait_for(lambda: False, 0.01, 0.001)


def test_elsewhere_than_on_a_terminal_progress_is_a_line_now_and_then():
    out = io.StringIO()
    progress = Progress(out, 60.0)

    progress.say("faults begin")
    progress.update(10.0, "3 of 9 injections")
    progress.update(11.0, "4 of 9 injections")

    lines = [line.partition("] ")[2] for line in out.getvalue().splitlines()]
    assert lines == ["faults begin", "10 of 60 s, 3 of 9 injections"]
