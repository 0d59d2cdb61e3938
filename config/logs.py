"""Log lines: JSON for machines, one readable line on a terminal, and only known fields."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

# What a caller may add with extra={...}; anything else stays out, so no secret slips in.
FIELDS: Final = (
    "action",
    "breaker",
    "by",
    "context",
    "error",
    "event",
    "event_id",
    "events",
    "key",
    "order_id",
    "outcome",
    "payment_id",
    "provider",
    "outcome",
    "queue",
    "reason",
    "saga",
    "saga_id",
    "sagas",
    "step",
    "task_name",
    "status_code",
)


class Fields(logging.Formatter):
    """Collects what a line says."""

    def collect(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the time, level, logger, message, correlation and the known extra fields."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= correlation_fields()
        line |= {
            name: getattr(record, name)
            for name in FIELDS
            if getattr(record, name, None) is not None
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return line


class JsonLines(Fields):
    """One JSON document a line; JSON itself escapes line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line."""
        return json.dumps(self.collect(record), default=str, ensure_ascii=False)


class HumanLines(Fields):
    """Time, level, message, then the fields; a line break in a value is written as an escape."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record for a person; only the traceback of an exception takes more lines."""
        line = self.collect(record)
        exception = line.pop("exception", None)
        at, level, _, message = (line.pop(key) for key in ("at", "level", "logger", "message"))
        extra = "".join(f" {name}={one_line(value)}" for name, value in line.items())
        text = f"{at[11:19]} {level:<7} {one_line(message)}{extra}"
        return f"{text}\n{exception}" if exception else text


def one_line(value: object) -> str:
    """Escape what would let a value end the line or steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(value)
    )


def correlation_fields() -> dict[str, str]:
    """Return the ids of the work that is under way."""
    from sagas import correlation

    current = correlation.current()
    if current is None:
        return {}
    found = {
        "correlation_id": current.correlation_id,
        "causation_id": current.causation_id,
        "trace_id": current.trace_id,
    }
    return {name: value for name, value in found.items() if value}


def configuration(level: str) -> dict[str, Any]:
    """Build LOGGING: everything to standard error; LOG_FORMAT=json or human overrides the guess."""
    guess = "human" if sys.stderr.isatty() else "json"
    chosen = os.environ.get("LOG_FORMAT") or guess
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": "config.logs.JsonLines"},
            "human": {"()": "config.logs.HumanLines"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": chosen}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
        },
    }
