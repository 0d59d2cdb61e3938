import os

from celery import Celery

from sagas import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lifted.settings")
broker.use()
app = Celery("lifted")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["sagas"])
