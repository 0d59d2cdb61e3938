import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


@pytest.fixture
def variable(monkeypatch):
    return lambda value: monkeypatch.setenv("CONCORD_TEST", value)


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_a_switch_can_be_turned_on_in_the_usual_words(variable, text):
    variable(text)

    assert env.env_bool("CONCORD_TEST", default=False) is True


def test_an_empty_variable_counts_as_unset(variable):
    variable("")

    assert env.env_bool("CONCORD_TEST", default=True) is True
    assert env.env_int("CONCORD_TEST", 7) == 7
    assert env.env_text("CONCORD_TEST", "seven") == "seven"
    assert env.env_optional("CONCORD_TEST") is None
    assert env.env_list("CONCORD_TEST", ["seven"]) == ["seven"]


@pytest.mark.parametrize(
    ("read", "text", "remedy"),
    [
        (lambda: env.env_bool("CONCORD_TEST", default=False), "maybe", "one of 1, true, yes, on"),
        (lambda: env.env_int("CONCORD_TEST", 1, least=1), "0", "a whole number from 1 up"),
        (lambda: env.env_int("CONCORD_TEST", 1), "1.5", "a whole number from 0 up"),
        (lambda: env.env_seconds("CONCORD_TEST", 1), "soon", "a number of seconds such as 1.5"),
        (lambda: env.env_seconds("CONCORD_TEST", 1), "-1", "a number of seconds above zero"),
        (lambda: env.env_seconds("CONCORD_TEST", 1), "nan", "a number of seconds above zero"),
        (lambda: env.env_seconds("CONCORD_TEST", 1), "inf", "a number of seconds above zero"),
        (lambda: env.env_choice("CONCORD_TEST", "", ("", "fast")), "fsat", "mean 'fast'"),
    ],
)
def test_nonsense_is_refused_with_the_name_the_value_and_the_remedy(variable, read, text, remedy):
    variable(text)

    with pytest.raises(ImproperlyConfigured) as refused:
        read()

    assert f"CONCORD_TEST is {text!r}" in str(refused.value)
    assert remedy in str(refused.value)


def test_a_list_is_split_at_commas_and_empty_words_are_left_out(variable):
    variable(" new, old ,,")

    assert env.env_list("CONCORD_TEST") == ["new", "old"]


def test_a_secret_without_a_value_is_refused_outside_development():
    with pytest.raises(ImproperlyConfigured, match="CONCORD_TEST is not set and DEBUG is off"):
        env.env_secret("CONCORD_TEST", development=None)


def test_development_has_a_known_secret():
    assert env.env_secret("CONCORD_TEST", development="known") == "known"
