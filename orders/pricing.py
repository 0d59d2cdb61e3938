"""What a line costs: one rounding per line, sums of integers everywhere else."""

from decimal import ROUND_HALF_UP, Decimal


def line_total(unit_price: Decimal, quantity: int) -> int:
    """Return what a line costs in minor units, tax included.

    A unit price may be finer than a minor unit; the line is rounded half up, once. Nothing that
    is derived from it is ever rounded again, so the parts always sum to the whole.
    """
    return int((unit_price * quantity).to_integral_value(rounding=ROUND_HALF_UP))
