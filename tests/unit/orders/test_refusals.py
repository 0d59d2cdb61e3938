import pickle

import pytest

from orders import refusals
from orders.refusals import BadQuantity, OrderRefused, Refusal, UnknownSku

KINDS = [
    kind
    for kind in vars(refusals).values()
    if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_refusal_has_a_code_of_its_own_and_a_remedy(kind):
    assert [other.code for other in KINDS].count(kind.code) == 1
    assert kind.remedy.endswith(".")


def test_a_refusal_survives_a_process_border():
    refused = OrderRefused([BadQuantity("0 is not a quantity of MUG.", "lines[3].quantity", 3)])

    (problem,) = pickle.loads(pickle.dumps(refused)).problems

    assert (problem.code, problem.field, problem.line) == ("bad_quantity", "lines[3].quantity", 3)


def test_a_refused_order_tells_every_problem_with_its_remedy():
    refused = OrderRefused(
        [BadQuantity("0 is not a quantity of MUG.", "a"), UnknownSku("There is no item 'X'.", "b")]
    )

    assert str(refused) == (
        "0 is not a quantity of MUG. Ask for a whole number from 1 to 1,000,000."
        " There is no item 'X'. Choose an item of the catalogue."
    )
