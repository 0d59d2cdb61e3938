"""The processes of the product: what runs, how many of each, how it is stopped.

`docs/processes.json` and `deploy/Procfile` say the same for other supervisors; a test compares.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.database import database_name, with_name
from config.queues import all_queues


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One kind of process."""

    name: str
    command: tuple[str, ...]
    """After the Python interpreter; `$NAME` stands for a variable of the environment."""
    how_many: str
    """`any` number on any number of machines, or what is enough."""
    stop_signal: str = "SIGTERM"
    grace: int = 30
    """Seconds that it may take to stop."""
    environment: tuple[tuple[str, str], ...] = ()
    """What must be set beside the common settings."""


def worker(queues: Sequence[str]) -> Process:
    """Describe a Celery worker. SIGTERM means a soft shutdown: finish quickly, then hand back.

    A warm shutdown, which SIGTERM means otherwise, was seen to stall for 30 s.
    """
    command = ("-m", "celery", "-A", "config", "worker", "-Q", ",".join(queues), "-c", "2")
    return Process(
        name="worker",
        command=(*command, "--without-gossip", "--without-mingle", "--without-heartbeat"),
        how_many="any",
        grace=60,
        environment=(("REMAP_SIGTERM", "SIGQUIT"),),
    )


WEB: Final = Process(
    name="web",
    command=(
        *("-m", "gunicorn", "config.wsgi", "--bind", "$HOST:$PORT", "--worker-class", "gthread"),
        *("--workers", "2", "--threads", "8", "--graceful-timeout", "15", "--no-control-socket"),
    ),
    how_many="any",
)
BEAT: Final = Process(
    name="beat",
    command=("-m", "celery", "-A", "config", "beat", "--schedule", "$BEAT_SCHEDULE_FILE"),
    how_many="1 is enough, 2 do no harm",
    grace=10,
)
TAIL: Final = Process(
    name="tail",
    command=("manage.py", "outbox", "tail"),
    how_many="none, or 1 after `outbox tail --setup`; 2 do no harm",
    grace=10,
)
STREAM: Final = Process(
    name="stream",
    command=("manage.py", "outbox", "stream"),
    how_many="none, or any where RELAY_STREAM is set",
    grace=10,
)
PROVIDER: Final = Process(
    name="provider",
    command=("-m", "payments.simulator", "--port", "$PROVIDER_PORT"),
    how_many="1, for development and tests: production talks to a real provider",
    grace=10,
)


def processes(step_queues: str, contexts: Sequence[str]) -> tuple[Process, ...]:
    """List every kind of process for a setting of STEP_QUEUES, in the order of their start.

    They are stopped the other way round: no ticks, no requests, then the steps that are running,
    and the provider, which these may be talking to, last.
    """
    return (PROVIDER, worker(all_queues(step_queues, contexts)), WEB, BEAT)


def described(step_queues: str, contexts: Sequence[str]) -> dict[str, object]:
    """Return the content of `docs/processes.json`."""
    return {
        "processes": [_described(process) for process in processes(step_queues, contexts)],
        # Nothing misses it: see docs/outbox.md.
        "optional": [_described(TAIL), _described(STREAM)],
    }


def _described(process: Process) -> dict[str, object]:
    return {
        "name": process.name,
        "command": shell_line(process),
        "how_many": process.how_many,
        "stop_signal": process.stop_signal,
        "grace_seconds": process.grace,
        "environment": dict(process.environment),
    }


def procfile(step_queues: str, contexts: Sequence[str]) -> str:
    """Return the content of `deploy/Procfile`."""
    lines = []
    for process in processes(step_queues, contexts):
        own = "".join(f"{name}={value} " for name, value in process.environment)
        lines.append(f"{process.name}: {own}{shell_line(process)}\n")
    return "".join(lines)


def shell_line(process: Process) -> str:
    """Write a command as one would type it, in the environment of the project."""
    first, *rest = process.command
    if first != "-m":
        return " ".join(("python", first, *rest))
    program = rest.pop(0) if rest[0] in {"celery", "gunicorn"} else "python -m"
    return " ".join((program, *rest))


def fill_in(command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Put the variables into a command.

    :raises KeyError: if the command names one that is not given
    """
    filled = []
    for word in command:
        text = word
        for name in sorted(variables, key=len, reverse=True):
            text = text.replace(f"${name}", variables[name])
        if "$" in text:
            raise KeyError(text)
        filled.append(text)
    return filled


def simulator_environment(
    *, database_url: str, site: str, key: str, secrets: Sequence[str]
) -> dict[str, str]:
    """Say what the simulated provider is told: its own database, and where our webhooks are."""
    own = os.environ.get("SIMULATOR_DATABASE_URL") or simulator_database_url(database_url)
    return {
        "SIMULATOR_DATABASE_URL": own,
        "SIMULATOR_API_KEY": key,
        "SIMULATOR_WEBHOOK_URL": f"{site}/webhooks/simulator",
        "SIMULATOR_WEBHOOK_SECRETS": ",".join(secrets),
    }


def simulator_database_url(database_url: str) -> str:
    """Name the provider's database beside ours, which it creates itself."""
    return with_name(database_url, f"{database_name(database_url)}_simulator")
