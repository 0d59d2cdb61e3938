"""Mounts what each context serves, the admin and the probes."""

from django.conf import settings
from django.contrib import admin
from django.urls import path

from config import health

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path(settings.ADMIN_PATH, admin.site.urls),
]
