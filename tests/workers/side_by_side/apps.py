"""The saga as a Django app, which `tests.workers.side_by_side.settings` alone installs."""

from django.apps import AppConfig


class SideBySideConfig(AppConfig):
    name = "tests.workers.side_by_side"
    label = "side_by_side"
