"""The simulator's entry in Django's registry of apps."""

from django.apps import AppConfig


class SimulatorConfig(AppConfig):
    """Name the simulator's tables ``simulator_…``."""

    name = "payments.simulator"
    label = "simulator"
    default_auto_field = "django.db.models.BigAutoField"
