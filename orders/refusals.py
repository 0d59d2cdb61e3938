"""What a customer may be told instead of "done": which field is wrong, and the way out."""

from collections.abc import Sequence
from typing import ClassVar

QUANTITY_LIMIT = 1_000_000
TOTAL_LIMIT = 10**14


class Refusal(Exception):
    """A request cannot be carried out as it stands."""

    code: ClassVar[str]
    """Stable name for programs."""
    remedy: ClassVar[str]
    """What the person can do about it."""

    def __init__(self, message: str, field: str = "", line: int | None = None) -> None:
        """Say what is wrong, where, and in which line."""
        # Everything goes into ``args``: an exception that keeps a part of itself elsewhere does
        # not survive pickling.
        super().__init__(message, field, line)

    @property
    def message(self) -> str:
        """Return what is wrong, in one sentence."""
        return str(self.args[0])

    @property
    def field(self) -> str:
        """Return the field concerned, such as ``lines[2].quantity``."""
        return str(self.args[1])

    @property
    def line(self) -> int | None:
        """Return the index of the line concerned, if it is one line's fault."""
        index: int | None = self.args[2]
        return index

    def __str__(self) -> str:
        """Return the message and the remedy."""
        return f"{self.message} {self.remedy}"


class OrderRefused(Exception):
    """An order cannot be placed; every problem found is listed, not only the first."""

    def __init__(self, problems: Sequence[Refusal]) -> None:
        """List the problems."""
        super().__init__(tuple(problems))

    @property
    def problems(self) -> tuple[Refusal, ...]:
        """Return everything that is wrong."""
        problems: tuple[Refusal, ...] = self.args[0]
        return problems

    def __str__(self) -> str:
        """Return all problems in one text."""
        return " ".join(str(problem) for problem in self.problems)


class EmptyCart(Refusal):
    """There is nothing to order."""

    code = "empty_cart"
    remedy = "Put at least one item into the cart."


class UnknownSku(Refusal):
    """A code names nothing in the catalogue."""

    code = "unknown_sku"
    remedy = "Choose an item of the catalogue."


class UnknownProduct(Refusal):
    """The shop has no such product."""

    code = "unknown_product"
    remedy = "Look it up in the catalogue."


class InactiveSku(Refusal):
    """An item is no longer for sale."""

    code = "inactive_sku"
    remedy = "Remove it and choose another item."


class BadQuantity(Refusal):
    """A quantity is not between one and the limit."""

    code = "bad_quantity"
    remedy = f"Ask for a whole number from 1 to {QUANTITY_LIMIT:,}."


class BadPrice(Refusal):
    """A price given from outside is not a price."""

    code = "bad_price"
    remedy = "Give a price above zero with at most four decimal places."


class MixedCurrencies(Refusal):
    """The lines of one order are priced in different currencies."""

    code = "mixed_currencies"
    remedy = "Order the items of each currency separately."


class TotalOutOfRange(Refusal):
    """An order comes to nothing, or to more than can be charged."""

    code = "total_out_of_range"
    remedy = "Change the quantities so that there is a sensible amount to pay."


class UnknownPaymentMethod(Refusal):
    """The customer has no such way to pay."""

    code = "unknown_payment_method"
    remedy = "Choose one of your payment methods."


class UnknownCustomer(Refusal):
    """There is no such customer."""

    code = "unknown_customer"
    remedy = "Register first."


class UnknownOrder(Refusal):
    """The customer has no such order."""

    code = "unknown_order"
    remedy = "Look it up in the list of your orders."


class ReferenceTaken(Refusal):
    """A reference already stands for the order of another customer."""

    code = "reference_taken"
    remedy = "Use a reference of your own."


class CartChanged(Refusal):
    """The cart is no longer the one that was shown."""

    code = "cart_changed"
    remedy = "Look at the cart again before ordering."


class EmailTaken(Refusal):
    """Another customer is registered with that address."""

    code = "email_taken"
    remedy = "Sign in, or register with another address."
