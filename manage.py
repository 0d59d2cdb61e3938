#!/usr/bin/env python3
"""Entry point: `python3 manage.py up` runs everything, `python3 manage.py test` tests it."""

import os
import sys


def main() -> None:
    """Make the environment on first use, then hand over to Django or to the test suite."""
    from config import bootstrap  # standard library only: nothing is installed yet

    testing = sys.argv[1:2] == ["test"]
    bootstrap.ensure_environment(testing=testing)
    if testing and not {"-h", "--help"}.intersection(sys.argv[2:3]):
        # Before Django reads its settings, since the suite chooses its own databases.
        bootstrap.run_tests(sys.argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
