"""The read-only SQL views of the schema ``audit``, see ``docs/audit-views.md``.

They are an interface: operators, monitoring and checks read the product through them, so that
the tables beneath may change. Each file of ``sql/`` is the body of the view it is named after.
"""

from config.audit.files import view_names
from config.audit.installing import drop_before_migrating, install
from config.audit.reading import asked, snapshot

__all__ = ["asked", "drop_before_migrating", "install", "snapshot", "view_names"]
