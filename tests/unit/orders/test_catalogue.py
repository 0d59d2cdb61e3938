from hypothesis import given
from hypothesis import strategies as st

from orders.services.catalogue import slug_of


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_codes_never_share_an_address(one, other):
    assert (slug_of(one) == slug_of(other)) == (one == other)


def test_an_ordinary_code_is_its_own_address():
    assert slug_of("85123A") == "85123A"
    assert slug_of("gift 0001/a") == "gift_20_0001_2f_a"
