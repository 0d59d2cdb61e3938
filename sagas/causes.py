"""What things that are stuck have in common: their reason, without what differs between them.

A thousand parked sagas have few causes. Two reasons have the same cause when they are equal but
for numbers, ids and how often it was tried.
"""

from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Left

LONGEST = 160

_WITHOUT = (
    (r"\n.*", ""),
    (r": \d+ attempts, the last: ", ": "),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "#"),
    (r"\m\d+", "#"),
)


def cause_of(column: str) -> Func:
    """Return the expression for the cause that a column with a reason tells of."""
    text: Func | F = F(column)
    for pattern, instead in _WITHOUT:
        text = Func(
            text,
            Value(pattern),
            Value(instead),
            Value("g"),
            function="regexp_replace",
            output_field=TextField(),
        )
    return Left(text, LONGEST)
