import json
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connections
from playwright.sync_api import sync_playwright

from config import seeding
from tests.browser.window import DESK, FLAGS, Window
from tests.conftest import chromium

# Stages that last long enough to be seen, and few attempts before a person is asked.
UNHURRIED = {
    "PAYMENT_PROVIDER_TIMEOUT": "10",
    "SAGAS_STEP_TIMEOUT": "13",
    "SAGAS_HARD_LIMIT": "14",
    "SAGAS_LEASE": "15",
    "SAGAS_VISIBILITY": "25",
    "SAGAS_MAX_ATTEMPTS": "3",
}


@pytest.fixture
def shop(processes, monkeypatch):
    """The whole shop, running: web, worker, beat and provider; a customer and the operators."""
    # Playwright's loop runs in this thread, so Django would refuse the database to the tests.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    seeded = seeding.seed(customers=1, skus=12, operators=True)
    processes.provider()
    processes.web()
    processes.worker(env=UNHURRIED)
    processes.beat(env=UNHURRIED)
    return SimpleNamespace(
        customer=seeded.customers[0], operators=SimpleNamespace(**seeded.operators)
    )


@pytest.fixture
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield launched
        launched.close()
        # Beside Playwright's loop Django has opened connections that nobody else would close.
        connections.close_all()


@pytest.fixture
def open_window(browser):
    """Open windows that share nothing; at the end none may have complained."""
    opened = []

    def open_one(**options):
        context = browser.new_context(viewport=DESK, **options)
        opened.append(Window(context.new_page()))
        return opened[-1]

    yield open_one
    assert [window.complaints for window in opened if window.complaints] == []


@pytest.fixture
def provider():
    """Tell the provider what goes wrong next."""

    def ask(method, body=None):
        request = urllib.request.Request(
            f"{settings.PAYMENT_PROVIDER_URL}/control/faults",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=5):
            return

    @contextmanager
    def misbehaving(**fault):
        ask("POST", {"times": None, **fault})
        yield
        ask("DELETE")

    return misbehaving
