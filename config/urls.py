"""Mounts what each context serves, the admin and the probes."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from config import health

handler400 = "config.refusing.bad_request"
handler500 = "config.refusing.server_error"
urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path(settings.ADMIN_PATH, admin.site.urls),
    path("api/v1/", include("orders.json_api.api")),
    path("sign-in/", LoginView.as_view(template_name="sign_in.html"), name="sign_in"),
    path("sign-out/", LogoutView.as_view(), name="sign_out"),
    path("invoices/", include("orders.web.invoices")),
    path("", include("payments.urls")),
    path("", include("orders.urls")),
]
