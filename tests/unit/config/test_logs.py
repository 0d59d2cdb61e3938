import json
import logging

from config.logs import HumanLines, JsonLines
from sagas import correlation


def record(message, **extra):
    made = logging.LogRecord("orders", logging.INFO, __file__, 1, message, None, None)
    made.__dict__.update(extra)
    return made


def test_a_json_line_carries_the_correlation_of_the_running_work():
    current = correlation.begin(correlation_id="click-0001")

    with correlation.correlated(current):
        line = json.loads(JsonLines().format(record("placed", order_id="o-1")))

    assert line["message"] == "placed"
    assert line["order_id"] == "o-1"
    assert line["correlation_id"] == "click-0001"
    assert line["trace_id"] == current.trace_id


def test_a_field_that_is_not_on_the_list_is_left_out():
    line = JsonLines().format(record("paid", card_number="4111", password="x", reason="done"))

    assert "4111" not in line
    assert "password" not in line
    assert json.loads(line)["reason"] == "done"


def test_a_line_break_in_a_value_cannot_forge_a_second_line():
    forged = record("name is Al\nice\x1b[31m", reason="a\r\nb")

    assert "\n" not in JsonLines().format(forged)
    human = HumanLines().format(forged)
    assert "\n" not in human
    assert "\x1b" not in human
    assert "Al\\nice" in human


def test_a_line_for_a_person_ends_with_the_fields():
    assert HumanLines().format(record("placed", order_id="o-1")).endswith("placed order_id=o-1")


def test_the_time_is_utc_with_milliseconds():
    made = record("x")
    made.created = 0.25

    assert json.loads(JsonLines().format(made))["at"] == "1970-01-01T00:00:00.250+00:00"
