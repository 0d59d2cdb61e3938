from billing.states import INVOICE_TRANSITIONS, InvoiceStatus, sources_of


def test_every_status_says_where_it_leads():
    assert set(INVOICE_TRANSITIONS) == set(InvoiceStatus)


def test_a_settled_invoice_stays_settled():
    assert INVOICE_TRANSITIONS[InvoiceStatus.SETTLED] == frozenset()
    assert sources_of(InvoiceStatus.OPEN) == ()
