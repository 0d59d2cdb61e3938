"""The read-only SQL views of the schema ``audit``, see ``docs/audit-views.md``.

They are an interface: operators, monitoring and checks read the product through them, so that
the tables beneath may change. Each file of ``sql/`` is the body of the view it is named after.
"""

from config.audit.installing import drop_before_migrating, install, view_names
from config.audit.reading import snapshot

__all__ = ["drop_before_migrating", "install", "snapshot", "view_names"]
