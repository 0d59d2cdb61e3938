"""Projections: read models made from events, how fresh they are, and building them anew."""
