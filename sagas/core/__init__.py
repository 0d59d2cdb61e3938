"""The pure part of the engine: standard library only, no Django, no Celery."""
