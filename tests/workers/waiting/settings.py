"""The settings of the product, with the sagas of the tests that wait."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OF_THE_PRODUCT

INSTALLED_APPS = [*OF_THE_PRODUCT, "tests.workers.waiting.apps.WaitingConfig"]
