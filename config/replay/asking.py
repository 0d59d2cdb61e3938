"""Questions to the audit views."""

from config.audit import asked

__all__ = ["asked"]
