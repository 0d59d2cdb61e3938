import pytest
from django.test import RequestFactory

from sagas.idempotency.http import (
    FIELD,
    KeyMalformed,
    KeyMissing,
    SeveralKeys,
    fingerprint,
    fresh_key,
    key_in_form,
    key_in_header,
)

requests = RequestFactory()


def with_header(key):
    return requests.post("/", headers={"Idempotency-Key": key})


def saying(body, path="/orders", method="POST"):
    return requests.generic(method, path, body, content_type="application/json")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ('"a,b"', "a,b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        (" abc ", "abc"),
    ],
)
def test_a_key_is_taken_quoted_and_bare(given, key):
    assert key_in_header(with_header(given)) == key


@pytest.mark.parametrize(
    "given",
    [
        "",
        '""',
        '"',
        '"abc',
        'abc"',
        "a b",
        '"a b"',
        "x" * 256,
        f'"{"x" * 256}"',
        "schlüssel",
        "\x7f",
    ],
)
def test_what_is_no_key_is_refused(given):
    with pytest.raises(KeyMalformed):
        key_in_header(with_header(given))


@pytest.mark.parametrize("given", ["a,b", '"a","b"', '"a", "b"', "a, b", 'a,"b"'])
def test_two_keys_are_refused(given):
    with pytest.raises(SeveralKeys):
        key_in_header(with_header(given))


def test_no_key_is_refused():
    with pytest.raises(KeyMissing):
        key_in_header(requests.post("/"))


def test_a_form_has_one_key():
    key = fresh_key()

    assert key_in_form(requests.post("/", {FIELD: key})) == key
    with pytest.raises(KeyMissing):
        key_in_form(requests.post("/", {}))
    with pytest.raises(SeveralKeys):
        key_in_form(requests.post("/", {FIELD: [key, key]}))


@pytest.mark.parametrize("given", ["abc\n", '"abc"\n', "x" * 255 + "\n"])
def test_a_line_break_is_no_part_of_a_key(given):
    with pytest.raises(KeyMalformed):
        key_in_form(requests.post("/", {FIELD: given}))


@pytest.mark.parametrize("same", ['{"b": [1, 2], "a": "x"}', '{"a":"x","b":[1,2]}'])
def test_white_space_and_the_order_of_fields_say_nothing(same):
    assert fingerprint(saying(same)) == fingerprint(saying('{"a": "x", "b": [1, 2]}'))


@pytest.mark.parametrize(
    "other",
    [
        saying('{"a": "y"}'),
        saying('{"a": "x", "b": null}'),
        saying('{"a": "x"}', path="/elsewhere"),
        saying('{"a": "x"}', method="PUT"),
        saying("no JSON"),
        saying(""),
        saying("[" * 100_000),
    ],
)
def test_another_request_has_another_fingerprint(other):
    assert fingerprint(other) != fingerprint(saying('{"a": "x"}'))


def test_the_key_and_the_csrf_token_are_no_content_of_a_form():
    one = requests.post("/", {"sku": "MUG", FIELD: "1", "csrfmiddlewaretoken": "x"})
    same = requests.post("/", {"csrfmiddlewaretoken": "y", FIELD: "2", "sku": "MUG"})
    other = requests.post("/", {"sku": "CUP", FIELD: "1", "csrfmiddlewaretoken": "x"})

    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)
