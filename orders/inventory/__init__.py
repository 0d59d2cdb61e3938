"""Stock: what is on hand, what is promised to whom, and every movement in between.

Shares nothing with the rest of ``orders`` but the schema: items are known by their code and
orders by their id, so that the folder could become a context of its own.
"""
