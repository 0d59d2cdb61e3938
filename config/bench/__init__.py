"""The benchmarks: what a durable saga costs beside a bare Celery chain of the same writes."""
