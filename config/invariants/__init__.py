"""What has to hold, whatever was killed, lost or delivered twice; see ``docs/invariants.md``.

The ids are those under which the invariants are known everywhere. Those that need a witness
outside the database (a client's log, the provider's own list) are left to other checks.
"""

from typing import Final

from config.invariants.books import I2_BOOKS
from config.invariants.checking import Invariant, Part, Result, When, default_age, evaluate
from config.invariants.documents import I12_REQUESTS, I16_ACTS, I21_INVOICES
from config.invariants.effects import I3_ONCE
from config.invariants.messages import I9_DELIVERY, I10_ORDER
from config.invariants.money import I1_MONEY
from config.invariants.progress import I5_LIVENESS, I6_TRANSITIONS
from config.invariants.stock import I4_STOCK
from config.invariants.undoing import I7_COMPENSATION, I8_NOTHING_LATE

INVARIANTS: Final = (
    I1_MONEY,
    I2_BOOKS,
    I3_ONCE,
    I4_STOCK,
    I5_LIVENESS,
    I6_TRANSITIONS,
    I7_COMPENSATION,
    I8_NOTHING_LATE,
    I9_DELIVERY,
    I10_ORDER,
    I12_REQUESTS,
    I16_ACTS,
    I21_INVOICES,
)

__all__ = ["INVARIANTS", "Invariant", "Part", "Result", "When", "default_age", "evaluate"]
