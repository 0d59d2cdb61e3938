"""One request, one effect: the Idempotency-Key contract."""
