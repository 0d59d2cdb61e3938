"""A payment provider to practice with: an outside world in a process of its own.

It shares nothing with the rest of the project but the interpreter: own settings, own database, no
import in either direction.  Everything it can do it does over HTTP, see
``docs/provider-simulator.md``.  Restoring, migrating or truncating the project's database never
rewinds it, exactly as with a real provider.
"""
