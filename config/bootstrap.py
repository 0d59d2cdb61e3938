"""First run on a bare machine: make .venv, install the locked requirements, run again inside it.

Standard library only, and no syntax newer than Python 3.6, so that an old interpreter gets as
far as the message that says what is wrong with it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
REQUIREMENTS = os.path.join(ROOT, "requirements.txt")
TEST_REQUIREMENTS = os.path.join(ROOT, "tests", "requirements.txt")
# Used only where the system's Python lacks ensurepip (Debian and Ubuntu without python3-venv).
PIP_WHEEL = (
    "https://files.pythonhosted.org/packages/07/25/"
    "ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/pip-26.3-py3-none-any.whl"
)
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def ensure_environment(*, testing: bool) -> None:
    """Return inside a suitable environment; where this is not one, make it and start again."""
    inside = os.path.realpath(sys.prefix) == os.path.realpath(VENV)
    if not inside and _suits(testing=testing):
        return
    wanted = [REQUIREMENTS, TEST_REQUIREMENTS] if testing else [REQUIREMENTS]
    if not all(_installed(path) for path in wanted):
        _build(wanted)
    elif inside:
        return
    os.execv(PYTHON, [PYTHON] + sys.argv)


def run_tests(arguments: List[str]) -> None:
    """Replace this process by the test suite, or with --lint by the checks of the source.

    With --detached each context has a database of its own. On servers of the suite's own every
    transaction opens as the role of its context, unless CONTEXT_ROLES=0 says otherwise: a role may
    do less than who it is taken from, and nothing else is different.
    """
    os.chdir(ROOT)
    _keep_bytecode()
    if "DATABASE_URL" not in os.environ:
        os.environ.setdefault("CONTEXT_ROLES", "1")
    if "--detached" in arguments:
        os.environ["CONTEXT_DATABASES"] = "detached"
        arguments = [a for a in arguments if a != "--detached"]
    if "--lint" in arguments:
        command = ["-m", "tests.lint"] + [a for a in arguments if a != "--lint"]
    else:
        command = ["-m", "pytest", "-c", "tests/pytest.ini", "--rootdir=."]
        command += _divided(arguments) + arguments
    os.execv(sys.executable, [sys.executable] + command)


def _keep_bytecode() -> None:
    """Where nothing may be written beside the source (containers often say so), write to var/.

    The suite starts hundreds of processes, and compiling is most of what each does until it is
    ready.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", os.path.join(ROOT, "var", "pycache"))


def _divided(arguments: List[str]) -> List[str]:
    """Let two processes share the whole suite; most of its time it waits for real processes."""
    chosen = [
        argument
        for i, argument in enumerate(arguments)
        if argument in ("-n", "-m", "-k", "-x")
        or not (argument.startswith("-") or arguments[i - 1 : i] in (["--seed"], ["--durations"]))
    ]
    return [] if chosen or (os.cpu_count() or 1) < 2 else ["-n", "2", "--dist", "worksteal"]


def _suits(*, testing: bool) -> bool:
    """Somebody's own environment that has what it takes is left alone."""
    try:
        from importlib.metadata import version

        import celery  # noqa: F401
        import psycopg  # noqa: F401

        if testing:
            import pytest_django  # noqa: F401
        return version("django").startswith("5.2.")
    except ImportError:
        return False


def _installed(requirements: str) -> bool:
    try:
        with open(_stamp(requirements)) as stamp:
            return stamp.read() == _fingerprint(requirements) and os.path.exists(PYTHON)
    except OSError:
        return False


def _stamp(requirements: str) -> str:
    name = os.path.relpath(requirements, ROOT).replace(os.sep, "-")
    return os.path.join(VENV, name + ".sha256")


def _fingerprint(requirements: str) -> str:
    with open(requirements, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def _build(wanted: List[str]) -> None:
    import fcntl

    with open(os.path.join(ROOT, ".venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two first runs at once, the second one waits
        missing = [path for path in wanted if not _installed(path)]
        if not missing:
            return
        sys.stderr.write("Installing the locked requirements into .venv (once) ...\n")
        sys.stderr.flush()
        if not os.path.exists(PYTHON):
            _make_venv(_newest_python())
        pip = _pip()
        for requirements in missing:
            _install(pip, requirements)
            with open(_stamp(requirements), "w") as stamp:
                stamp.write(_fingerprint(requirements))


def _newest_python() -> str:
    """Find a Python 3.11 or newer: this one, else the newest one on PATH."""
    if sys.version_info >= (3, 11):
        return sys.executable
    for name in ("python3.13", "python3.12", "python3.11"):
        found = shutil.which(name)
        if found:
            return found
    sys.exit("Python 3.11 or newer is needed, and this is %s" % sys.version.split()[0])


def _make_venv(python: str) -> None:
    has_pip = subprocess.call([python, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0
    without = [] if has_pip else ["--without-pip"]
    subprocess.check_call([python, "-m", "venv", "--clear"] + without + [VENV])


def _pip() -> List[str]:
    """Find pip: what ensurepip put into .venv, else the pinned wheel, which runs as it is."""
    if subprocess.call([PYTHON, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0:
        return [PYTHON, "-m", "pip"]
    with urllib.request.urlopen(PIP_WHEEL, timeout=60) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != PIP_SHA256:
        sys.exit("the pip wheel from %s is not the expected one" % PIP_WHEEL)
    wheel = os.path.join(tempfile.mkdtemp(), PIP_WHEEL.rsplit("/", 1)[1])
    with open(wheel, "wb") as f:
        f.write(data)
    return [PYTHON, os.path.join(wheel, "pip")]


def _install(pip: List[str], requirements: str) -> None:
    options = ["--quiet", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    # Modules are compiled when first imported: three times as quick as compiling them all here.
    options += ["--only-binary=:all:", "--no-compile", "-r", requirements]
    if subprocess.call(pip + ["install"] + options) != 0:
        sys.exit(
            "the requirements could not be installed (see above); "
            "is the network reachable? Run the same command again to go on"
        )
