"""Settings of gunicorn, which serves the provider.

Threads, because a call that hangs must not keep others waiting; one process by default, any
number would do, since all state is in the database.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

host = os.environ.get("SIMULATOR_HOST", "127.0.0.1")
port = os.environ.get("SIMULATOR_PORT", "8100")
bind = f"{host}:{port}"
worker_class = "gthread"
workers = 1
threads = int(os.environ.get("SIMULATOR_THREADS", "32"))
worker_connections = 1000
keepalive = 75
graceful_timeout = 5
timeout = 60
backlog = 512
loglevel = "warning"
proc_name = "provider"
control_socket_disable = True


def when_ready(_server: Any) -> None:
    """Say where the provider listens."""
    sys.stdout.write(f"provider listens at http://{bind}/\n")
    sys.stdout.flush()


def post_worker_init(_worker: Any) -> None:
    """Start the sender of events and let calls that hang go when the process is asked to end."""
    # Here and not at import: the arbiter process never loads Django.
    from payments.simulator.events import start_sending, waiting
    from payments.simulator.faults import stopping

    start_sending()
    handler = signal.getsignal(signal.SIGTERM)

    def let_go(number: int, frame: FrameType | None) -> None:
        stopping.set()
        waiting.set()
        if callable(handler):
            handler(number, frame)

    signal.signal(signal.SIGTERM, let_go)
