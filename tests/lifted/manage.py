"""Entry point of a small project of another team, which has taken `sagas` along."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lifted.settings")
execute_from_command_line(sys.argv)
