"""The port to the payment provider: what is asked of it, and what its answers mean.

Every answer is one of four (decision 3.7).  *Done* is a ``ProviderIntent``.  *Rejected* is a
business no: nothing moved.  *Unknown* is a time-out, a broken connection or an error of the
provider: the money may have moved, so it is asked before anything is repeated.  Everything else
is a *fault*, which says nothing about the money and is retried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class IntentStatus(StrEnum):
    """Where the provider's intent stands; after captured and canceled nothing follows."""

    PREPARED = "prepared"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderIntent:
    """The provider's view of one payment."""

    ref: str
    status: IntentStatus
    amount: int
    currency: str
    authorized: int
    captured: int
    refunded: int
    reference: str
    decline_code: str = ""
    """Why the card was last declined, if it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderCall:
    """What accompanies a call."""

    key: str
    """The idempotency key: the same for as long as the outcome is unknown."""
    correlation_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewIntent:
    """What the provider is asked to open."""

    amount: int
    currency: str
    token: str
    reference: str


class ProviderFault(Exception):
    """The provider could not be used; whether the money moved is not known from it."""


class ProviderBusy(ProviderFault):
    """The provider has no time now, or still works on the same key."""


class ProviderDefect(ProviderFault):
    """The provider does not understand us: one of us is wrong, and a person has to look."""


class ProviderRefusal(ProviderDefect):
    """A definite no that the provider keeps under the key, although the bank said nothing.

    Nothing moved, and nothing ever will under that key: whoever sends it again is told the same.
    When the cause is mended the call wants a new one.
    """


class Gateway(Protocol):
    """A payment provider.

    Calls are made with no transaction open.  Each may raise ``Unknown`` and ``ProviderFault``,
    those that carry a key also ``ProviderRefusal``, those that ask for money also ``Rejected``.
    """

    def prepare(self, new: NewIntent, call: ProviderCall) -> ProviderIntent:
        """Open an intent; no money moves."""

    def confirm(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Hold the money; an intent that holds it already is done."""

    def capture(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Take the money; an intent that is captured already is done."""

    def cancel(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Close the intent: after ``canceled`` no earlier request can execute, under any key.

        An intent that was captured is returned as such; it is never nothing to do.
        """

    def find(self, ref: str, correlation_id: str = "") -> ProviderIntent:
        """Return an intent by the provider's name of it."""

    def find_by_reference(
        self, reference: str, correlation_id: str = ""
    ) -> tuple[ProviderIntent, ...]:
        """Return the intents opened under our name of the payment, oldest first."""

    def list_all(self, after: str = "") -> Iterator[ProviderIntent]:
        """Return the provider's own list, oldest first."""
