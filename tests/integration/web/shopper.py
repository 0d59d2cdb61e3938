"""Customers at the pages and at the interface for programs."""

import json
import re
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from orders.services import issue_token
from sagas.ids import uuid7
from tests.factories import a_customer, a_method

PASSWORD = "correct horse battery"


@dataclass
class Program:
    """A program with a customer's token."""

    customer: Any
    token: str
    method: Any

    def get(self, path, **headers):
        return Client().get(f"/api/v1{path}", headers=self._headers(headers))

    def post(self, path, body=None, *, key="", raw=None, **headers):
        content = json.dumps(body) if raw is None else raw
        sent = self._headers({"Idempotency-Key": key or str(uuid7()), **headers})
        return Client().post(
            f"/api/v1{path}",
            content if body is not None or raw is not None else "",
            content_type="application/json",
            headers={name: value for name, value in sent.items() if value is not None},
        )

    def order(self, *lines, key="", method=None, **headers):
        return self.post(
            "/orders",
            {
                "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
                "payment_method": str(method or self.method),
            },
            key=key,
            **headers,
        )

    def _headers(self, more):
        return {"Authorization": f"Bearer {self.token}", **more}


def a_program(token="card_good"):
    customer = a_customer()
    method = a_method(customer, token)
    return Program(customer, issue_token(customer_id=customer.id, label="till").text, method)


def a_user(name):
    return get_user_model().objects.create_user(name, password=PASSWORD)


def a_shopper(name="alice"):
    """A browser in which a customer has signed in, and the customer."""
    user = a_user(name)
    customer = a_customer(user_id=user.id, email=f"{name}@example.com", name=name.title())
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    return browser, customer


FORM = re.compile(r"<form(?P<attributes>[^>]*)>(?P<inside>.*?)</form>", re.DOTALL)
INPUT = re.compile(r"<input(?P<attributes>[^>]*)>")
ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')


@dataclass
class Form:
    """A form of a page, as a browser sees it."""

    action: str
    method: str
    fields: dict[str, str]


def forms_of(response):
    """Every form of a page, filled in as it was sent to the browser."""
    return [_form(match, response) for match in FORM.finditer(response.content.decode())]


def _form(match, response):
    attributes = dict(ATTRIBUTE.findall(match["attributes"]))
    fields = {}
    for found in INPUT.finditer(match["inside"]):
        own = dict(ATTRIBUTE.findall(found["attributes"]))
        is_chosen = own.get("type") != "radio" or " checked" in found["attributes"]
        if "name" in own and is_chosen:
            fields[own["name"]] = own.get("value", "")
    action = attributes.get("action", response.wsgi_request.path)
    return Form(action, attributes.get("method", "get"), fields)


def form_to(response, action):
    """The first form of a page that is sent to an address."""
    return next(form for form in forms_of(response) if form.action == action)


def send(browser, form, **changes):
    """Send a form, with some fields filled in otherwise."""
    return browser.post(form.action, {**form.fields, **changes})
