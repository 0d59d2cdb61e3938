"""How sagas are doing, as Prometheus reads it."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from config.gauges import gauges
from sagas import measured


def figures() -> Iterator[Metric]:
    """Yield what is under way, how the latest ended, and how late the sweeper is."""
    yield from _sagas(measured.under_way())
    yield from _ended()
    yield from _lags()


def _sagas(groups: list[measured.Group]) -> Iterator[Metric]:
    alike: dict[tuple[str, str], list[measured.Group]] = {}
    for group in groups:
        alike.setdefault((group.name, group.status), []).append(group)
    yield from gauges(
        ("saga", "status"),
        (
            ("concord_sagas_unfinished", "Sagas under way."),
            ("concord_sagas_oldest_unfinished_seconds", "Age of the oldest of them."),
            ("concord_sagas_parked", "Sagas that wait for a person."),
            ("concord_sagas_retrying", "Sagas whose current step was claimed more than once."),
            ("concord_sagas_hinted", "Sagas that the sweeper had to hint."),
            ("concord_sagas_late", "Sagas that stand at a step longer than it may take."),
        ),
        [
            (
                *key,
                sum(group.count for group in found),
                max(group.ages[-1] for group in found),
                sum(group.parked for group in found),
                sum(group.retrying for group in found),
                sum(group.hinted for group in found),
                sum(group.late for group in found),
            )
            for key, found in alike.items()
        ],
    )
    yield from _by_version(groups)


def _by_version(groups: list[measured.Group]) -> Iterator[Metric]:
    labels = ("saga", "version", "status", "waits_for")
    kinds = [(group.name, group.def_version, group.status, group.waits_for) for group in groups]
    yield from gauges(
        labels,
        (("concord_sagas_standing", "Sagas under way, by version and what they wait for."),),
        [(*kind, group.count) for kind, group in zip(kinds, groups, strict=True)],
    )
    yield from gauges(
        (*labels, "quantile"),
        (("concord_sagas_age_seconds", "Age of unfinished sagas; quantile 1 is the oldest."),),
        [
            (*kind, f"{quantile:g}", age)
            for kind, group in zip(kinds, groups, strict=True)
            for quantile, age in zip(measured.QUANTILES, group.ages, strict=True)
        ],
    )
    seen = sum(group.count for group in groups)
    yield from gauges(
        (),
        (("concord_sagas_cut", "1 where more sagas are unfinished than a scrape looks at."),),
        [(seen >= measured.MOST,)],
    )


def _ended() -> Iterator[Metric]:
    ended = measured.ended_lately()
    yield from gauges(
        ("saga", "status"),
        (("concord_sagas_ended_last_hour", "Sagas by how they ended, the latest 10000."),),
        [
            row
            for found in ended
            for row in (
                (found.name, "completed", found.completed),
                (found.name, "compensated", found.compensated),
            )
        ],
    )
    yield from gauges(
        ("saga",),
        (("concord_sagas_compensated_ratio", "The part of them that was compensated."),),
        [(found.name, found.compensated_ratio) for found in ended],
    )


def _lags() -> Iterator[Metric]:
    found = measured.lag()
    return gauges(
        ("of",),
        (("concord_timer_lag_seconds", "How long the most overdue row waits for the sweeper."),),
        [("sagas", found.sagas), ("branches", found.branches)],
    )
