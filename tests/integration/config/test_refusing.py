import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost
from django.db import OperationalError
from django.test import Client, override_settings

from config.security import POLICY
from orders import queries

HTTPS = override_settings(SECURE_SSL_REDIRECT=True, ALLOWED_HOSTS=["shop.example"])


@HTTPS
def test_a_foreign_host_is_refused_with_the_content_policy():
    answer = Client().get("/", headers={"host": "evil.example"})

    assert answer.status_code == 400
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert b"evil.example" not in answer.content
    assert DisallowedHost.__name__.encode() not in answer.content


@pytest.mark.django_db
def test_a_form_that_cannot_be_read_is_refused_by_a_page():
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    browser.get("/sign-in/")
    form = "application/x-www-form-urlencoded; charset=utf-16"

    answer = browser.post("/cart/add/", b"a=1", content_type=form)

    assert answer.status_code == 400
    assert b"Bad request" in answer.content
    assert answer.headers["Content-Security-Policy"] == POLICY


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/metrics", "/nowhere"])
def test_without_a_database_pages_say_that_they_cannot_answer_now(monkeypatch, address):
    def silent(*args, **options):
        raise OperationalError("no route to 10.1.2.3")

    monkeypatch.setattr(queries, "catalogue", silent)
    monkeypatch.setattr("config.metrics.rows", silent)
    monkeypatch.setattr(SessionStore, "load", silent)
    browser = Client(raise_request_exception=False)
    browser.cookies["sessionid"] = "of-somebody-who-signed-in"

    answer = browser.get(address)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert b"10.1.2.3" not in answer.content
    assert b"Traceback" not in answer.content
