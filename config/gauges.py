"""Rows of the database as figures for Prometheus."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from sagas.transactions import ENGINE, connection_of

Row = tuple[Any, ...]


def gauges(
    labels: tuple[str, ...], named: tuple[tuple[str, str], ...], found: Iterable[Row]
) -> Iterator[Metric]:
    """Turn rows, first their labels and then their figures, into one gauge for each figure."""
    families = [GaugeMetricFamily(name, text, labels=list(labels)) for name, text in named]
    for row in found:
        for family, value in zip(families, row[len(labels) :], strict=True):
            family.add_metric([str(label) for label in row[: len(labels)]], float(value))
    return iter(families)


def rows(statement: str, *told: Any, context: str = ENGINE) -> list[Row]:
    """Return what a statement finds in the database of a context."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement, list(told) or None)
        return list(cursor.fetchall())
