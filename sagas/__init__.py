"""The engine: sagas, outbox and inbox, idempotency. It knows no context and can be lifted out."""
