"""The addresses of the provider."""

from django.urls import path

from payments.simulator import control, views

urlpatterns = [
    path("healthz", views.healthz),
    path("v1/intents", views.intents),
    path("v1/intents/<str:ref>", views.intent),
    path("v1/intents/<str:ref>/confirm", views.confirm),
    path("v1/intents/<str:ref>/capture", views.capture),
    path("v1/intents/<str:ref>/cancel", views.cancel),
    path("v1/refunds", views.refunds),
    path("v1/balance", views.balance),
    path("control/faults", control.faults),
    path("control/calls", control.physical_calls),
    path("control/deliveries", control.deliveries),
    path("control/reset", control.reset),
]

handler404 = views.not_found
handler500 = views.out_of_order
