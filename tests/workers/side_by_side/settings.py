"""The production settings, and the saga of this folder beside those of the contexts."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OF_THE_PROJECT

INSTALLED_APPS = [*OF_THE_PROJECT, "tests.workers.side_by_side.apps.SideBySideConfig"]
