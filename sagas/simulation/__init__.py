"""Rehearsals of a saga: every placement of faults over its steps, in one process.

The engine and its statements are the real ones, on a real PostgreSQL. The participants are
stand-ins that do what the placement says, the broker is a list, and time passes by decree.
"""
