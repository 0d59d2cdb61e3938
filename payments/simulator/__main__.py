"""Start the provider: ``python -m payments.simulator --port 8100``."""

import argparse
import os
import sys
from typing import NoReturn


def main(arguments: list[str]) -> NoReturn:
    """Migrate the database, then become the server."""
    options = _options(arguments)
    os.environ["DJANGO_SETTINGS_MODULE"] = "payments.simulator.settings"
    os.environ["SIMULATOR_HOST"] = options.host
    os.environ["SIMULATOR_PORT"] = str(options.port)
    if options.database_url:
        os.environ["SIMULATOR_DATABASE_URL"] = options.database_url
    if not os.environ.get("SIMULATOR_DATABASE_URL"):
        sys.stderr.write("provider: no database: use --database-url or SIMULATOR_DATABASE_URL\n")
        sys.exit(2)
    if not _migrated(options.wait):
        sys.exit(1)
    _become_the_server()


def _become_the_server() -> NoReturn:
    # Replacing this process keeps its id, so that whoever started it can stop it.
    os.execv(  # noqa: S606
        sys.executable,
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "python:payments.simulator.server",
            "payments.simulator.wsgi:application",
        ],
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m payments.simulator",
        description="A payment provider to practice with, over HTTP and with its own database.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8100, help="port to listen on (%(default)s)")
    parser.add_argument("--database-url", help="instead of SIMULATOR_DATABASE_URL")
    parser.add_argument(
        "--wait",
        type=float,
        default=60,
        metavar="SECONDS",
        help="how long to wait for a database that is coming up (%(default)s)",
    )
    return parser.parse_args(arguments)


def _migrated(seconds: float) -> bool:
    import django
    from django.db import OperationalError

    django.setup()
    from payments.simulator.database import wait_and_migrate

    try:
        wait_and_migrate(seconds)
    except OperationalError as refused:
        sys.stderr.write(f"provider: {refused}\n")
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
