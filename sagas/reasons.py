"""Who acts and why: what every act of an operator has to say before anything is done."""

from sagas.core.errors import SagasError
from sagas.error_texts import storable


class ReasonMissing(SagasError):
    """Say why: an operator's act needs a reason that the next one can understand."""


class UnfitText(SagasError):
    """A text is none, is empty or too long, or has a zero byte or half of a surrogate pair."""


def refuse_unfit(**texts: str) -> None:
    """Look at texts before the database does.

    :raises UnfitText: if one could not be stored; it says which
    """
    for name, text in texts.items():
        if not isinstance(text, str):
            raise UnfitText(f"{name} is a text, and {text!r:.80} is none: write str({name})")
        if storable(text) != text:
            raise UnfitText(f"{name} has a zero byte, or half of a surrogate pair: write it anew")


def refuse_untold(*, by: str, reason: str) -> None:
    """Look at who acts and why.

    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if either could not be stored, or nobody acts
    """
    refuse_unfit(reason=reason, by=by)
    if not reason.strip():
        raise ReasonMissing
    if not by.strip():
        raise UnfitText("by is empty: say who acts; it is kept with the reason")
