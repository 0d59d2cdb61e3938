"""The control file through which running processes are told where to die, stop or wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.chaos.servers import wait_for
from sagas import failpoints


class Armory:
    """Arms places in one control file; several faults may have one armed at the same time."""

    def __init__(self, file: Path) -> None:
        """Begin with nothing armed, whatever an earlier run has left."""
        self.file = file
        self._armed: dict[str, str] = {}
        self._free = threading.Condition()
        for mark in file.parent.glob(f"{file.name}*.hit"):
            mark.unlink()
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """Say what a process is told, so that it looks here."""
        return {"CONCORD_FAILPOINTS_FILE": str(self.file)}

    @contextmanager
    def armed(self, place: str, action: str) -> Iterator[Path]:
        """Have a place armed inside the block; yields the file that appears when it was hit."""
        mark = failpoints.mark(str(self.file), place)
        with self._free:
            self._free.wait_for(lambda: place not in self._armed)
            mark.unlink(missing_ok=True)
            self._armed[place] = action
            self._write()
        try:
            yield mark
        finally:
            with self._free:
                del self._armed[place]
                self._write()
                self._free.notify_all()

    def await_hit(self, mark: Path, seconds: float) -> bool:
        """Wait until somebody has come by."""
        return wait_for(mark.exists, seconds, 0.02)

    def _write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text("\n".join(f"{place}={action}" for place, action in self._armed.items()))
        fresh.replace(self.file)
