"""Who acts and why: what every act of an operator has to say before anything is done."""

from sagas.core.errors import SagasError
from sagas.error_texts import storable


class ReasonMissing(SagasError):
    """Say why: an operator's act needs a reason that the next one can understand."""


class UnfitText(SagasError):
    """A text has a zero byte or half of a surrogate pair, or is longer than an index holds."""


def refuse_unfit(**texts: str) -> None:
    """Look at texts before the database does.

    :raises UnfitText: if one could not be stored; it says which
    """
    for name, text in texts.items():
        if storable(text) != text:
            raise UnfitText(f"{name} has a zero byte, or half of a surrogate pair: write it anew")


def refuse_untold(*, by: str, reason: str) -> None:
    """Look at who acts and why.

    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if either could not be stored
    """
    if not reason.strip():
        raise ReasonMissing
    refuse_unfit(reason=reason, by=by)
