"""`docs/event-map.md`: who tells what and who listens, made from the code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sagas.outbox.event_map import Told, event_map, first_line, places_of

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "event-map.md"

HEAD: Final = """\
# The map of events

Who tells what, and who listens, by name and version. This file is made from the event classes, the
places that publish them and the registry of handlers; after a change of any of them:

    python3 manage.py eventmap --write

Operators see the same at `/admin/event-map/`. `manage.py check` refuses a handler of an event, or
of a version of one, that no context publishes (`sagas.E020`), and warns of an event that no context
hears and of which nothing is said who else reads it (`sagas.W020`).
"""


def document() -> str:
    """Return the whole document."""
    told = event_map()
    return "\n".join([HEAD, *_picture(told), *_table(told)])


def as_json() -> list[dict[str, Any]]:
    """Return the map for other programs."""
    return [
        {
            "event": one.name,
            "version": one.version,
            "context": one.context,
            "published_by": list(_places(one)),
            "heard_by": [
                {"context": listener.context, "handler": listener.handler_name}
                for listener in one.listeners
            ],
            "outside": one.outside,
        }
        for one in event_map()
    ]


def _picture(told: tuple[Told, ...]) -> Iterator[str]:
    """Draw what is heard; what is only read outside would hide it."""
    yield from ("```mermaid", "flowchart LR")
    contexts = sorted(
        {one.context for one in told if one.listeners}
        | {listener.context for one in told for listener in one.listeners}
    )
    yield from (f"    {context}([{context}])" for context in contexts)
    for number, one in enumerate(one for one in told if one.listeners):
        name = one.name.partition(".")[2]
        yield f'    {one.context} --> e{number}["{name} v{one.version}"]'
        for listener in one.listeners:
            yield f"    e{number} -- {listener.handler.__name__} --> {listener.context}"
    yield from ("```", "")


def _table(told: tuple[Told, ...]) -> Iterator[str]:
    yield from ("| event | says | published by | heard by |", "|---|---|---|---|")
    for one in told:
        heard = [
            f"`{listener.context}`: {first_line(listener.handler)} (`{listener.handler_name}`)"
            for listener in one.listeners
        ]
        outside = [f"no context; {one.outside}"] if not heard else []
        published = "<br>".join(f"`{place}`" for place in _places(one))
        yield f"| `{one.label}` | {one.says} | {published} | {'<br>'.join(heard + outside)} |"
    yield ""


def _places(one: Told) -> tuple[str, ...]:
    return places_of(one.event) if one.event is not None else ()
