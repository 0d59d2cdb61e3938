"""A release that could not carry out what lives, started as real processes."""

import pytest
from django.db import connection

from config.management.commands import up
from config.supervisor import GivingUp
from sagas.orchestration import versions
from tests.processes import eventually
from tests.workers.shop import open_shop


@pytest.fixture
def an_order_of_another_release(committed_db):
    open_shop().buy()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET fingerprint = substr(fingerprint, 1, 22) || 'beef'"
            " || substr(fingerprint, 27)"
        )


@pytest.mark.usefixtures("an_order_of_another_release")
def test_worker_and_web_are_not_started_and_say_which_step_and_what_to_do(processes):
    worker = processes.worker(ready=False)
    eventually(lambda: not worker.alive, 30, "the worker ends")

    assert worker.process.returncode == 1
    for words in (
        "orders.checkout version 1 was changed while one instance of it lives",
        "step 1 (place_order) is not what step 1 was",
        "keep version 1 registered as it was until its instances have ended",
    ):
        assert words in worker.output()
    with pytest.raises(AssertionError, match="is not what step 1 was"):
        processes.web()


def test_up_gives_up_with_the_same_words(monkeypatch):
    def refuse():
        raise versions.UnfitDefinition("step 3 is another one")

    command = up.Command()
    command.began = 0.0
    monkeypatch.setattr(command, "_say", lambda _: None)
    monkeypatch.setattr(command, "_start_servers", lambda: None)
    monkeypatch.setattr(up, "call_command", lambda *_, **__: None)
    monkeypatch.setattr(up.versions, "refuse_unfit", refuse)

    with pytest.raises(GivingUp, match="step 3 is another one"):
        command._prepare()
