"""An app for real workers: a saga whose two branches wait for each other."""
