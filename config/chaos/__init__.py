"""Real processes, real kills: faults by a plan, evidence that each struck, and a verdict.

See ``docs/chaos.md``.
"""
