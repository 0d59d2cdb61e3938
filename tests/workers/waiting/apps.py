"""Makes a worker know the sagas of the tests that wait."""

from django.apps import AppConfig


class WaitingConfig(AppConfig):
    name = "tests.workers.waiting"
    label = "waiting_sagas"

    def ready(self):
        from tests.integration.sagas import waiting

        waiting.register()
