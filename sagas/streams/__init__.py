"""Streams: what was told of each aggregate, read from the history, folded and compared."""
