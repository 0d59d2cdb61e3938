"""What a person sees of a message that nobody could read, and does about it."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from sagas.models import OperatorAction
from sagas.outbox import discarding, pruning
from sagas.reasons import ReasonMissing
from sagas.unreadable import keep
from tests.integration.admin.test_acts import outcomes
from tests.integration.admin.test_pages import INLINE
from tests.integration.admin.world import look, press, signed_in
from tests.integration.sagas.rubbish_kept import found, kept, nobody_has_knocked
from tests.integration.sagas.test_operating_by_terminal import document
from tests.together import together

__all__ = ["nobody_has_knocked"]

pytestmark = pytest.mark.usefixtures("committed_db", "nobody_has_knocked")


def test_a_discarded_message_is_out_of_the_way_and_the_next_like_it_waits_again():
    keep(found(), "it is no JSON")
    [row] = kept()

    assert discarding.discard_unreadable(row.id, by="alice", reason="a test of theirs")
    assert not discarding.discard_unreadable(row.id, by="bob", reason="too")
    keep(found(), "it is no JSON")

    assert [message.discarded_at is None for message in kept()] == [False, True]
    assert list(OperatorAction.objects.order_by("id").values_list("by", "outcome")) == [
        ("alice", "done"),
        ("bob", "refused"),
    ]


def test_two_who_discard_a_message_at_once_do_it_once():
    keep(found(), "it is no JSON")
    [row] = kept()

    ends = together(*[lambda: discarding.discard_unreadable(row.id, by="x", reason="seen")] * 2)

    assert sorted(ends) == [False, True]


def test_a_discard_without_a_reason_is_refused():
    keep(found(), "it is no JSON")

    with pytest.raises(ReasonMissing):
        discarding.discard_unreadable(kept()[0].id, by="alice", reason=" ")
    assert kept()[0].discarded_at is None


def test_of_discarded_messages_the_latest_stay_and_what_waits_stays_whatever_its_age(monkeypatch):
    monkeypatch.setattr(pruning, "SEEN", 2)
    for number in range(5):
        keep(found(str(number).encode()), "it is no JSON")
    for row in kept()[:4]:
        discarding.discard_unreadable(row.id, by="alice", reason="seen")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_unreadable SET received_at = now() - interval '9 years'")

    pruning.prune()
    assert [bytes(row.body) for row in kept()] == [b"2", b"3", b"4"]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_unreadable SET discarded_at = discarded_at - interval '9 years'"
        )
    pruning.prune()
    assert [bytes(row.body) for row in kept()] == [b"4"]


def test_a_terminal_lists_messages_with_their_bytes_and_discards_one():
    keep(found(b"\x00{"), "it is no JSON")
    [row] = kept()
    told, code = document("deadletters", "unreadable")

    [message] = told["unreadable_messages"]
    assert code == 0
    assert (message["id"], message["reason"], message["body_hex"]) == (
        str(row.id),
        "it is no JSON",
        "007b",
    )
    told, code = document("deadletters", "discard", row.id, "--reason", "seen")
    assert (told["done"], code) == ([str(row.id)], 0)
    assert document("deadletters", "unreadable")[0] == {"unreadable_messages": []}
    told, code = document("deadletters", "discard", row.id, "--reason", "seen")
    assert (told["refused"], code) == ([str(row.id)], 1)


def test_a_terminal_says_in_one_line_why_a_message_waits():
    keep(found(), "it is no JSON")
    keep(found(), "it is no JSON")
    out = io.StringIO()
    call_command("deadletters", "unreadable", stdout=out)

    assert out.getvalue().strip().endswith("2 times, 9 bytes: it is no JSON")
    with pytest.raises(CommandError, match="no dead letter id"):
        call_command("deadletters", "discard", "x", "--reason", "seen")


def page(role="viewer"):
    url = reverse("admin:sagas_unreadablemessage_change", args=[kept()[0].id])
    return signed_in(role).get(url)


def test_the_bytes_are_shown_as_a_text_that_does_nothing():
    keep(found(b"<script>alert(1)</script>\x00\xff\xe2\x80\xae"), "it is <b>no</b> JSON")

    text = page().content.decode()

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x00\\xff\\u202e" in text
    assert "3c 73 63 72 69 70 74 3e" in text
    assert "it is &lt;b&gt;no&lt;/b&gt; JSON" in text
    assert INLINE.search(text) is None


def test_the_first_page_and_the_list_count_what_waits():
    keep(found(), "it is no JSON")
    keep(found(), "it is no JSON")
    client = signed_in("viewer")

    front = client.get(reverse("admin:index")).content.decode()
    listed = client.get(reverse("admin:sagas_unreadablemessage_changelist"), {"state": "human"})

    assert "<strong>1</strong> unreadable message" in front
    assert "1 different, 2 in all" in listed.content.decode()


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("operator", 403), ("administrator", 200)]
)
def test_a_message_is_discarded_by_administrators_only(role, status):
    keep(found(), "it is no JSON")
    key = kept()[0].id
    seen = look(signed_in("administrator"), "sagas_unreadablemessage", "discard", key)

    response = press(signed_in(role), "sagas_unreadablemessage", "discard", key, seen=seen)

    assert response.status_code == status
    assert (kept()[0].discarded_at is not None) is (status == 200)


def test_a_message_that_came_again_since_one_looked_is_not_discarded():
    keep(found(), "it is no JSON")
    client, key = signed_in("administrator"), kept()[0].id
    seen = look(client, "sagas_unreadablemessage", "discard", key)
    keep(found(), "it is no JSON")

    [refusal] = outcomes(press(client, "sagas_unreadablemessage", "discard", key, seen=seen))

    assert "moved on" in refusal
    assert kept()[0].discarded_at is None


def test_a_scrape_counts_what_waits(client):
    keep(found(), "it is no JSON")

    text = client.get("/metrics").content.decode()

    assert "concord_unreadable_messages 1.0" in text
    assert "concord_unreadable_messages_oldest_seconds 0." in text
