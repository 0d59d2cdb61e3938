"""Orders of every kind, placed over HTTP at the running site, and how each ends."""
