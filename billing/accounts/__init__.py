"""The customer as a party that is billed."""
