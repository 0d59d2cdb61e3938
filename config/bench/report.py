"""From blocks to the figures: medians for each side, medians of the rounds' ratios."""

from typing import Any, Final

from config.bench.machine import DRIVER
from config.bench.measuring import Block, Measured
from config.bench.outcome import middle, quantile
from config.bench.sides import AGAINST, OURS, SIDES

HEADINGS: Final = {
    "per_cpu_second": "sagas per CPU second",
    "per_second": "sagas per second",
    "p50_ms": "latency p50, ms",
    "p99_ms": "latency p99, ms",
    "commits": "write transactions a saga",
    "wal_bytes": "bytes of WAL a saga",
}
_RATIOS_OF_ROUNDS: Final = ("per_cpu_second", "per_second", "commits", "wal_bytes")


def figures(measured: Measured) -> dict[str, Any]:
    """Return the document of one kind of saga: ours, against, ratio and its spread."""
    sides = {side: _of_side(side, measured) for side in SIDES}
    ratios = {name: _round_ratios(name, measured) for name in _RATIOS_OF_ROUNDS}
    ratio = {name: _rounded(middle(values)) for name, values in ratios.items()}
    for name in ("p50_ms", "p99_ms"):
        ratio[name] = _rounded(sides[OURS][name] / sides[AGAINST][name])
    spread = {
        name: [_rounded(min(values)), _rounded(max(values))] for name, values in ratios.items()
    }
    return {
        OURS: sides[OURS],
        AGAINST: sides[AGAINST],
        "ratio": {name: ratio[name] for name in HEADINGS},
        "spread": spread,
    }


def _of_side(side: str, measured: Measured) -> dict[str, Any]:
    blocks = [block for pair in measured.pairs for block in pair if block.side == side]
    latencies = measured.latencies[side]
    found: dict[str, Any] = {
        name: _rounded(middle([_figure(name, block) for block in blocks]))
        for name in _RATIOS_OF_ROUNDS
    }
    found["p50_ms"] = _rounded(quantile(latencies, 0.5))
    found["p99_ms"] = _rounded(quantile(latencies, 0.99))
    found = {name: found[name] for name in HEADINGS}
    parts = sorted({part for block in blocks for part in block.cost.seconds})
    found["cpu_ms"] = {
        part: _rounded(middle([1000 * b.cost.seconds[part] / b.sagas for b in blocks]))
        for part in parts
    }
    found["per_cpu_second_without_driver"] = _rounded(
        middle([b.sagas / (b.cpu - b.cost.seconds[DRIVER]) for b in blocks])
    )
    return found


def _figure(name: str, block: Block) -> float:
    if name == "per_cpu_second":
        return block.sagas / block.cpu
    if name == "per_second":
        return block.sagas / block.wall
    if name == "commits":
        return block.cost.transactions / block.sagas
    return block.cost.wal_bytes / block.sagas


def _round_ratios(name: str, measured: Measured) -> list[float]:
    return [_figure(name, ours) / _figure(name, against) for ours, against in measured.pairs]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(title: str, found: dict[str, Any]) -> str:
    """Write one kind of saga's figures for a terminal."""
    lines = ["", title, f"{'':<28}{'ours':>12}{'celery':>12}{'ratio':>9}   spread of the rounds"]
    for name, heading in HEADINGS.items():
        spread = found["spread"].get(name)
        between = f"   {spread[0]:g} to {spread[1]:g}" if spread else ""
        lines.append(
            f"{heading:<28}{found[OURS][name]:>12g}{found[AGAINST][name]:>12g}"
            f"{found['ratio'][name]:>9g}{between}"
        )
    lines.append("CPU milliseconds a saga")
    for part in sorted({*found[OURS]["cpu_ms"], *found[AGAINST]["cpu_ms"]}):
        own, other = (found[side]["cpu_ms"].get(part, 0.0) for side in SIDES)
        lines.append(f"  {part:<26}{own:>12g}{other:>12g}")
    return "\n".join(lines)
