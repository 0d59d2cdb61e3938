"""What payments serves."""

from django.urls import path

from payments import webhooks

urlpatterns = [
    path("webhooks/simulator", webhooks.simulator, name="webhooks-simulator"),
]
