"""The production settings, and the benchmark's saga beside those of the contexts."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OF_THE_PROJECT

INSTALLED_APPS = [*OF_THE_PROJECT, "config.bench.apps.BenchConfig"]
