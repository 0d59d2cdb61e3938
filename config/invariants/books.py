"""I2: the books."""

from typing import Final

from config.invariants.checking import Invariant, Part, When, guarded

# Debits less credits per account, party and currency.
BALANCES: Final = """
    SELECT account, party_id, currency,
        sum(CASE side WHEN 'D' THEN amount ELSE -amount END) AS balance
    FROM audit.v_ledger WHERE line_id IS NOT NULL GROUP BY account, party_id, currency
"""

I2_BOOKS: Final = Invariant(
    id="I2",
    name="books",
    parts=(
        Part(
            says="Every entry has two sides that sum to zero, in one currency.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT entry_id) FROM audit.v_ledger",
            violations="""
                SELECT format('entry %%s (%%s): %%s lines, debits less credits %%s', entry_id,
                        min(rule), count(line_id),
                        sum(CASE side WHEN 'D' THEN amount ELSE -amount END)) AS what,
                    abs(coalesce(sum(CASE side WHEN 'D' THEN amount ELSE -amount END), 0)) AS size
                FROM audit.v_ledger GROUP BY entry_id
                HAVING count(line_id) < 2 OR count(DISTINCT currency) > 1
                    OR sum(CASE side WHEN 'D' THEN amount ELSE -amount END) <> 0
            """,
        ),
        Part(
            says="What a customer owes in the books is what the open invoices say.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT (party_id, currency)) FROM audit.v_invoices",
            violations=f"""
                SELECT format('account %%s: 1200 has %%s, open invoices have %%s %%s', party_id,
                        coalesce(b.balance, 0), coalesce(i.open, 0), currency) AS what,
                    abs(coalesce(b.balance, 0) - coalesce(i.open, 0)) AS size
                FROM (SELECT party_id, currency, balance FROM ({BALANCES}) AS balances
                    WHERE account = '1200') b
                FULL JOIN (SELECT party_id, currency, sum(total - settled - credited) AS open
                    FROM audit.v_invoices GROUP BY party_id, currency) i
                    USING (party_id, currency)
                WHERE coalesce(b.balance, 0) <> coalesce(i.open, 0)
            """,  # noqa: S608
        ),
        Part(
            says="What a customer has paid in advance is what was received and not yet applied.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT (party_id, currency)) FROM audit.v_received_payments",
            violations=f"""
                SELECT format('account %%s: 2100 has %%s, not applied are %%s %%s', party_id,
                        -coalesce(b.balance, 0), coalesce(r.unapplied, 0), currency) AS what,
                    abs(coalesce(b.balance, 0) + coalesce(r.unapplied, 0)) AS size
                FROM (SELECT party_id, currency, balance FROM ({BALANCES}) AS balances
                    WHERE account = '2100') b
                FULL JOIN (SELECT party_id, currency, sum(amount - applied) AS unapplied
                    FROM audit.v_received_payments GROUP BY party_id, currency) r
                    USING (party_id, currency)
                WHERE coalesce(b.balance, 0) <> -coalesce(r.unapplied, 0)
            """,  # noqa: S608
        ),
        Part(
            says="What the provider owes us in the books is what was received.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT currency) FROM audit.v_received_payments",
            violations=f"""
                SELECT format('1100 has %%s, received were %%s %%s', coalesce(b.balance, 0),
                        coalesce(r.received, 0), currency) AS what,
                    abs(coalesce(b.balance, 0) - coalesce(r.received, 0)) AS size
                FROM (SELECT currency, sum(balance) AS balance FROM ({BALANCES}) AS balances
                    WHERE account = '1100' GROUP BY currency) b
                FULL JOIN (SELECT currency, sum(amount) AS received
                    FROM audit.v_received_payments GROUP BY currency) r USING (currency)
                WHERE coalesce(b.balance, 0) <> coalesce(r.received, 0)
            """,  # noqa: S608
        ),
        guarded(
            (
                "billing_journalentry.billing_journalentry_balanced",
                "billing_journalline.billing_journalline_balanced",
                "billing_journalentry.billing_journalentry_unchanging",
                "billing_journalline.billing_journalline_unchanging",
                "billing_invoice.billing_invoice_keep",
                "billing_invoice.billing_invoice_unchanging",
                "billing_invoiceline.billing_invoiceline_unchanging",
            ),
            "Entries and issued invoices cannot be changed: the triggers that refuse it are on.",
        ),
    ),
)
