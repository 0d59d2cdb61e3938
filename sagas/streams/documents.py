"""The committed schemas: one file for each event and version, and what may happen to them.

The files are the contract that stored rows and consumers rely on. A file that is there is changed
only by what its readers cannot notice: a further field with a default. Everything else is a new
version, with an upcaster from the one before.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from sagas.core.schemas import DIALECT, Schema, refusals, schema_of
from sagas.core.upcasting import leads
from sagas.streams.known import events, newest


def path_of(directory: Path, name: str, version: int) -> Path:
    """Return the file of one version of an event."""
    return directory / f"{name}.v{version}.json"


def described() -> dict[tuple[str, int], Schema]:
    """Return the schema of every event that the code has, by name and version."""
    return {
        (event.name, event.version): {
            "$schema": DIALECT,
            "title": event.name,
            "version": event.version,
            "description": (event.__doc__ or "").strip().partition("\n")[0],
            **schema_of(event),
        }
        for event in events()
    }


def committed(directory: Path) -> dict[tuple[str, int], Schema]:
    """Return the schemas that are written down, by name and version."""
    found = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    return {(schema["title"], schema["version"]): schema for schema in found}


def broken(directory: Path) -> Iterator[str]:
    """Tell what nobody may do to a version that is written down, and the code does."""
    written, here = committed(directory), described()
    for (name, version), schema in sorted(here.items()):
        for said in refusals(written.get((name, version), schema), schema):
            yield (
                f"{name} version {version}: {said}. Give it version {version + 1}, and an upcaster"
                f" from {version}"
            )
    latest = {name: event.version for name, event in newest().items()}
    for name, version in sorted(written):
        if name not in latest:
            yield f"{name} version {version}: its class is gone, and rows of it are not"
        elif not leads(name, version, latest[name]):
            yield f"{name} version {version}: no upcaster leads to version {latest[name]}"


def stale(directory: Path) -> Iterator[str]:
    """Tell which files do not say what the code says."""
    written = committed(directory)
    for (name, version), schema in sorted(described().items()):
        if written.get((name, version)) != schema:
            yield f"{path_of(directory, name, version).name} is not what the code says"


def write(directory: Path) -> list[Path]:
    """Write the files of the versions that the code has; return those that changed.

    Not to be called while something is `broken`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changed = []
    for (name, version), schema in sorted(described().items()):
        path, text = path_of(directory, name, version), json.dumps(schema, indent=2) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed
