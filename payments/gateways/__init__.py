"""The provider that the settings name."""

import os
from functools import cache

from django.conf import settings

from payments.gateway import Gateway
from payments.gateways.http import HttpGateway


def gateway() -> Gateway:
    """Return the provider, with the connections of this process."""
    return _gateway(
        settings.PAYMENT_PROVIDER_URL,
        settings.PAYMENT_PROVIDER_KEY,
        settings.PAYMENT_PROVIDER_TIMEOUT,
        os.getpid(),
    )


@cache
def _gateway(url: str, key: str, timeout: float, _pid: int) -> Gateway:
    # By process: a connection that is open over a fork would be shared by both sides.
    return HttpGateway(url=url, key=key, timeout=timeout)
