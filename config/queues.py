"""The queues, who consumes them, and what the transport has to know about them."""

from collections.abc import Sequence
from typing import Any, Final

from kombu import Queue

FRESH: Final = "fresh"
EVENTS: Final = "events"
TICKS: Final = "ticks"
STEPS: Final = "steps"
# Where a task goes that names no queue: one that is consumed in either mode.
DEFAULT: Final = {"shared": STEPS, "per-context": TICKS}
EXPIRY_OF_TICKS: Final = 20


def step_queues(mode: str, contexts: Sequence[str]) -> tuple[str, ...]:
    """Name the queues of saga steps: one for all, or one for each context."""
    return (STEPS,) if mode == "shared" else tuple(contexts)


def all_queues(mode: str, contexts: Sequence[str]) -> tuple[str, ...]:
    """Name every queue that some worker has to consume."""
    return (*step_queues(mode, contexts), FRESH, EVENTS, TICKS)


def celery_queues(mode: str, contexts: Sequence[str]) -> list[Queue]:
    """Declare the queues to Celery."""
    return [Queue(name, routing_key=name) for name in all_queues(mode, contexts)]


def routes(mode: str) -> dict[str, dict[str, Any]]:
    """Route the engine's tasks; a link of a chain is given its queue by who sends it."""
    names = (
        *("sweep", "watch", "relay", "send_outside", "republish", "catch_up"),
        *("watch_slots", "prune"),
    )
    ticks = [f"sagas.{name}" for name in names]
    return {
        "sagas.continue_saga": {"queue": DEFAULT[mode]},
        "sagas.deliver": {"queue": EVENTS},
        **{task: {"queue": TICKS} for task in ticks},
    }


def transport_options(url: str, visibility: float) -> dict[str, Any]:
    """Bound every wait for the broker; a black hole would otherwise hang a publish for ever."""
    if not url.startswith(("redis", "valkey")):
        return {"confirm_publish": True} if url.startswith(("amqp", "pyamqp")) else {}
    return {
        "visibility_timeout": visibility,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 10,
        "global_keyprefix": "concord:",
        "max_retries": 1,
    }


def broker_from(url: str) -> str:
    """Turn an address as redis-py reads it into one as Celery reads it."""
    if not url.startswith("unix://"):
        return url
    return url.replace("unix://", "redis+socket://", 1).replace("db=", "virtual_host=")
