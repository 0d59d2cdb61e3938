"""The entry point of a WSGI server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

from sagas.orchestration import versions  # noqa: E402 - needs the apps

# Web starts sagas, of definitions that fit; what it does not know it leaves to the workers.
versions.refuse_unfit(but=(versions.UNKNOWN,))
