"""Makes a worker know the sagas of the tests that wait, and those that share commits."""

from django.apps import AppConfig


class WaitingConfig(AppConfig):
    name = "tests.workers.waiting"
    label = "waiting_sagas"

    def ready(self):
        from tests.integration.sagas import trio, waiting

        waiting.register()
        trio.register()
