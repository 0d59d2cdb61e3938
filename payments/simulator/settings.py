"""Settings of the simulator's own process, all of them read from the environment."""

import os

from payments.simulator.database import connection_settings

DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["payments.simulator.apps.SimulatorConfig"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "payments.simulator.urls"
USE_TZ = True
TIME_ZONE = "UTC"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
DATABASES = {"default": connection_settings(os.environ.get("SIMULATOR_DATABASE_URL", ""))}

SIMULATOR_API_KEY = os.environ.get("SIMULATOR_API_KEY", "")
"""The only bearer key that is let in; empty lets any key in."""

SIMULATOR_HANG_SECONDS = float(os.environ.get("SIMULATOR_HANG_SECONDS", "30"))
"""How long a call hangs where the script of the fault does not say."""

SIMULATOR_WEBHOOK_URL = os.environ.get("SIMULATOR_WEBHOOK_URL", "")
"""Where events are sent; empty sends none."""

SIMULATOR_WEBHOOK_SECRETS = [
    secret.strip()
    for secret in os.environ.get("SIMULATOR_WEBHOOK_SECRETS", "whsec_simulator").split(",")
    if secret.strip()
]
"""Every event is signed with each of these, newest first."""

SIMULATOR_WEBHOOK_DELAYS = [
    float(delay)
    for delay in os.environ.get("SIMULATOR_WEBHOOK_DELAYS", "5,30,120,600,3600").split(",")
]
"""Seconds before each repetition of an event that was not accepted; the last one repeats."""

SIMULATOR_WEBHOOK_GIVE_UP_SECONDS = 3 * 24 * 3600
"""An event that nobody accepted for so long is not sent again."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django.request": {"level": "ERROR"}},
}
