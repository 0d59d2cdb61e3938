"""Django's PostgreSQL backend, with one addition: each app's tables are made in its own schema."""
