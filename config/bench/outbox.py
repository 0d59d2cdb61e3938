"""`manage.py bench outbox`: the measurements in their order, and the figures of them."""

import os
from collections.abc import Callable
from typing import Any, Final

from config.bench import draining, lateness, machine, news, soak
from config.bench.draining import Drain
from config.bench.outcome import middle, quantile
from config.bench.peers import beside
from config.bench.sides import Sides

WARM_UP: Final = 2000
RATE: Final = 100.0
RATE_BESIDE: Final = 20.0
"""Events in a second while others wait, so that the measure does not become the load."""

Progress = Callable[[str], None]


def run(options: dict[str, Any], say: Progress) -> dict[str, Any]:
    """Measure everything and return the document.

    :raises Wrong: if an event was lost, doubled or late beyond patience
    """
    news.make_table()
    try:
        found = _measured(options, say)
        news.forget()
    finally:
        news.drop_table()
    server = machine.server_settings()
    return {
        **found,
        "verified": True,
        "durable": server["fsync"] == "on" and server["synchronous_commit"] == "on",
        "events": options["events"],
        "rounds": options["rounds"],
        "server": server,
        "processors": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _measured(options: dict[str, Any], say: Progress) -> dict[str, Any]:
    if options["soak"]:
        return {"soak": soak.run(options["soak"], say)}
    events, rounds = options["events"], options["rounds"]
    say("warm-up")
    draining.to_stream(WARM_UP)
    draining.to_messages(WARM_UP, draining.MESSAGES)
    streams, both = [], []
    for number in range(rounds):
        say(f"stream: round {number + 1} of {rounds}")
        streams.append(draining.to_stream(events))
        both.append(draining.to_stream(events, relayed=True))
    say(f"messages: {rounds} paired rounds")
    few = max(events // 10, 1)
    pairs = draining.paired(
        rounds,
        lambda: draining.to_messages(events, draining.MESSAGES),
        lambda: draining.to_messages(few, 1),
    )
    found = {
        "stream": _figures(streams),
        "both": _figures(both),
        "messages": _of_pairs(pairs),
        **_latencies(options, say),
    }
    return {**found, "peers": _peers(options, say, found["latency"]["streamed"])}


def _peers(
    options: dict[str, Any], say: Progress, streamed: dict[str, float]
) -> dict[str, Any] | None:
    python = beside.interpreter()
    if python is None:
        return None
    events = min(options["events"], beside.EVENTS)
    say(f"{events} events to the stream, beside other libraries")
    ours = _figures([draining.to_stream(events) for _ in range(options["rounds"])])
    theirs = beside.measure(python, events=events, singles=options["singles"], rate=RATE, say=say)
    own = {
        "per_second": ours["per_second"],
        "relay_cpu_us": ours["cpu_us_by_part"][machine.DRIVER],
        "p50_ms": streamed["p50_ms"],
        "p99_ms": streamed["p99_ms"],
    }
    return {"events": events, "libraries": {"ours": own, **theirs}}


def _latencies(options: dict[str, Any], say: Progress) -> dict[str, Any]:
    sides, own = Sides(), {"RELAY_STREAM": draining.stream_address()}
    try:
        say("starting worker and beat")
        sides.start(against=False, own=own)
        lateness.commit_to_applied(sides, events=50, rate=RATE)
        say(f"latency without `outbox stream`: {options['singles']} events at {RATE:g} a second")
        without = lateness.commit_to_applied(sides, events=options["singles"], rate=RATE)
        sides.stream(own)
        lateness.commit_to_applied(sides, events=50, rate=RATE)
        say(f"latency: {options['singles']} events at {RATE:g} a second")
        alone = lateness.commit_to_applied(sides, events=options["singles"], rate=RATE)
        say(f"latency: beside {options['waiting']} events that wait")
        crowded = lateness.commit_to_applied(
            sides,
            events=max(options["singles"] // 4, 1),
            rate=RATE_BESIDE,
            waiting=options["waiting"],
        )
    finally:
        sides.stop()
    return {
        "latency": {name: _quantiles(values) for name, values in alone.items()},
        "without": {name: _quantiles(values) for name, values in without.items()},
        "beside": {"waiting": options["waiting"], **_quantiles(crowded["applied"])},
    }


def _figures(drains: list[Drain]) -> dict[str, Any]:
    parts = sorted({part for drain in drains for part in drain.cost.seconds})
    cpu = {
        part: _rounded(middle([1e6 * d.cost.seconds[part] / d.events for d in drains]))
        for part in parts
    }
    return {"cpu_us_by_part": cpu} | {
        name: _rounded(middle([getattr(drain, name) for drain in drains]))
        for name in ("per_second", "cpu_us", "wal_bytes")
    }


def _of_pairs(pairs: list[tuple[Drain, Drain]]) -> dict[str, Any]:
    ratios = {
        "per_second": [ours.per_second / other.per_second for ours, other in pairs],
        "cpu_us": [other.cpu_us / ours.cpu_us for ours, other in pairs],
    }
    return {
        "ours": _figures([ours for ours, _ in pairs]),
        "against": _figures([other for _, other in pairs]),
        "ratio": {name: _rounded(middle(values)) for name, values in ratios.items()},
        "spread": {
            name: [_rounded(min(values)), _rounded(max(values))] for name, values in ratios.items()
        },
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    return {
        "p50_ms": _rounded(quantile(values, 0.5)),
        "p99_ms": _rounded(quantile(values, 0.99)),
        "most_ms": _rounded(max(values)),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(document: dict[str, Any]) -> str:
    """Write the figures for a terminal."""
    if "soak" in document:
        return soak.table(document["soak"])
    stream, messages = document["stream"], document["messages"]
    lines = [
        "",
        f"{'one relay, each event':<34}{'events/s':>10}{'CPU us':>9}{'WAL bytes':>11}",
        _line("to a stream", stream),
        _line("to a stream, and relayed", document["both"]),
        _line(f"to messages of {draining.MESSAGES}", messages["ours"]),
        _line("to a message each", messages["against"]),
        _against(messages),
        "",
        f"{'milliseconds after the commit':<34}{'p50':>10}{'p99':>9}{'most':>11}",
    ]
    rows = {"in the stream": "streamed", "applied by who listens": "applied"}
    for title, name in rows.items():
        lines.append(_latency(title, document["latency"][name]))
    for title, name in rows.items():
        lines.append(_latency(f"{title}, no process", document["without"][name]))
    waited = document["beside"]
    lines.append(_latency(f"applied, {waited['waiting']} others waiting", waited))
    return "\n".join([*lines, *beside.table(document)])


def _line(title: str, found: dict[str, float]) -> str:
    return f"{title:<34}{found['per_second']:>10g}{found['cpu_us']:>9g}{found['wal_bytes']:>11g}"


def _against(messages: dict[str, Any]) -> str:
    low, high = messages["spread"]["per_second"]
    ratio = messages["ratio"]
    return (
        f"messages of {draining.MESSAGES} against one each: {ratio['per_second']:g} times as fast "
        f"({low:g} to {high:g}), for a {ratio['cpu_us']:g}th of the CPU"
    )


def _latency(title: str, found: dict[str, float]) -> str:
    return f"{title:<34}{found['p50_ms']:>10g}{found['p99_ms']:>9g}{found['most_ms']:>11g}"
