"""What customers fill in."""

from typing import Any

from django import forms

from orders.refusals import QUANTITY_LIMIT

HOW_MANY = f"Enter a whole number from 1 to {QUANTITY_LIMIT:,}."


class SearchForm(forms.Form):
    """A part of a product's name, and where the list goes on."""

    q = forms.CharField(required=False, max_length=100)
    after = forms.CharField(required=False, max_length=255)


class CartForm(forms.Form):
    """An item and how many of it."""

    sku = forms.CharField(max_length=64)
    quantity = forms.IntegerField(
        min_value=0,
        max_value=QUANTITY_LIMIT,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), HOW_MANY),
    )

    def complaint(self) -> str:
        """Return the first thing that is wrong."""
        wrong: dict[str, Any] = self.errors
        return str(next(iter(wrong.values()))[0])


class CheckoutForm(forms.Form):
    """How to pay, and the items and the total that were shown when the button was pressed."""

    payment_method = forms.UUIDField(
        error_messages={
            "required": "Choose how to pay.",
            "invalid": "Choose one of your cards.",
        }
    )
    contents = forms.CharField(max_length=64, required=False)  # pages of an older release lack it
    total = forms.IntegerField()
