"""The interface for programs: JSON under ``/api/v1/``, described in ``docs/http-api.md``.

It knows who asks by a bearer token and by nothing else: cookies are not looked at, so no page of
another site can speak through a signed-in browser.
"""
