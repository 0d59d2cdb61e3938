"""The sagas that this context owns."""
