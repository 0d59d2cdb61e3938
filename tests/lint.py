"""The checks of the source that need no test: `python3 manage.py test --lint`."""

import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
# No database runs, so the history in it is not compared; a test does that.
QUIETLY = (sys.executable, "-W", "ignore::RuntimeWarning")
CHECKS = (
    ("ruff check", [str(BIN / "ruff"), "check", "--quiet", "."]),
    ("ruff format", [str(BIN / "ruff"), "format", "--check", "--quiet", "."]),
    ("mypy", [sys.executable, "-m", "mypy", "--no-error-summary"]),
    ("manage.py check", [sys.executable, "manage.py", "check", "--fail-level", "WARNING"]),
    ("makemigrations", [*QUIETLY, "manage.py", "makemigrations", "--check", "--dry-run"]),
)


def main() -> int:
    """Run every check, also after one has failed, and return 1 if any has."""
    failed = []
    for name, command in CHECKS:
        print(f"lint: {name}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"lint: failed: {', '.join(failed)}" if failed else "lint: all passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
