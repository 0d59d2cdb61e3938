import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCTION = {
    "SECRET_KEY": "a-long-random-value-" + "x7Kq" * 12,
    "ALLOWED_HOSTS": "shop.example",
    "PAYMENT_PROVIDER_KEY": "provider-key",
    "WEBHOOK_SECRETS": "new,old",
}


def loaded(names, **environment):
    """Load the settings in a process of its own; return the values, or what it said instead."""
    show = (
        "import json; from config import settings as s; "
        f"print(json.dumps({{n: getattr(s, n) for n in {names!r}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_a_fresh_checkout_needs_no_variable_and_is_in_development():
    found = loaded(["DEBUG", "FAST", "ALLOWED_HOSTS", "SECURE_SSL_REDIRECT"])

    assert found == {
        "DEBUG": True,
        "FAST": False,
        "ALLOWED_HOSTS": [],
        "SECURE_SSL_REDIRECT": False,
    }


def test_a_secret_key_turns_development_off_and_https_on():
    found = loaded(["DEBUG", "SECURE_SSL_REDIRECT", "WEBHOOK_SECRETS"], **PRODUCTION)

    assert found == {"DEBUG": False, "SECURE_SSL_REDIRECT": True, "WEBHOOK_SECRETS": ["new", "old"]}


@pytest.mark.parametrize("missing", sorted(PRODUCTION))
def test_production_refuses_to_start_without(missing):
    environment = {name: value for name, value in PRODUCTION.items() if name != missing}

    assert f"{missing} is not set and DEBUG is off" in loaded(["DEBUG"], DEBUG="0", **environment)


def test_one_address_of_redis_serves_keys_and_messages():
    found = loaded(["REDIS_URL", "CELERY_BROKER_URL"], REDIS_URL="redis://cache:6379/4")

    assert found["CELERY_BROKER_URL"] == found["REDIS_URL"] == "redis://cache:6379/4"


def test_the_check_before_a_deployment_finds_nothing():
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **PRODUCTION},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout
