"""Events from one context to the others: outbox, relay, inbox."""
