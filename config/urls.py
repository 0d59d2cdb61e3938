"""Mounts what each context serves, the admin and the probes."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from billing import urls as billing_urls
from config import health
from orders.json_api.api import patterns as api_patterns
from orders.web.access import for_customer

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path(settings.ADMIN_PATH, admin.site.urls),
    path("api/v1/", include((api_patterns(), "api"))),
    path("sign-in/", LoginView.as_view(template_name="sign_in.html"), name="sign_in"),
    path("sign-out/", LogoutView.as_view(), name="sign_out"),
    path("invoices/", include((billing_urls.patterns(for_customer), billing_urls.app_name))),
    path("", include("payments.urls")),
    path("", include("orders.urls")),
]
