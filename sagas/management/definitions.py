"""``manage.py sagas definitions``: what is registered, and what lives of it."""

from typing import Any

from sagas.orchestration.versions import Fit, Standing, standings


def rows() -> list[dict[str, Any]]:
    """Return every definition with its living instances, as JSON has it."""
    return [
        {
            "name": each.name,
            "version": each.version,
            "fingerprint": each.fingerprint,
            "living": each.living,
            "oldest": each.oldest,
            "fit": each.fit.value,
            "differs": each.differs,
        }
        for each in standings()
    ]


def lines() -> list[str]:
    """Return the same for a terminal."""
    return [_line(each) for each in standings()] or ["no definition is registered"]


def _line(each: Standing) -> str:
    text = f"{each.name} version {each.version}  {each.fingerprint:<16.16}  {each.living} living"
    if each.fit is Fit.UNKNOWN:
        return f"{text}  not defined here"
    return f"{text}  changed since they began: {each.differs}" if each.differs else text
