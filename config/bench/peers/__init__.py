"""Other outbox libraries beside ours, each in an environment and processes of its own."""
