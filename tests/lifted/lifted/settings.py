"""All that a project has to say for the engine: the two apps, the broker, the five ticks."""

import os

SECRET_KEY = "lifted"
DEBUG = True
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["bakery", "sagas"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"],
    }
}
CELERY_BROKER_URL = os.environ["BROKER_URL"]
REDIS_URL = os.environ["REDIS_URL"]
TICKS = {
    "sagas.sweep": 0.5,
    "sagas.relay": 0.5,
    "sagas.republish": 5,
    "sagas.watch": 5,
    "sagas.prune": 3600,
}
CELERY_BEAT_SCHEDULE = {
    task: {"task": task, "schedule": seconds, "options": {"queue": "ticks"}}
    for task, seconds in TICKS.items()
}
