import contextlib
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.integration.simulator.world import provider_running
from tests.processes import eventually


@contextlib.contextmanager
def receiver(answers):
    """Listen for events; the first ones are answered as told, all others with 200."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((raw, self.headers["Sim-Signature"]))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_events_are_signed_and_sent_until_they_are_accepted():
    with (
        receiver([500, 404]) as (url, seen),
        provider_running(
            "test_provider_events",
            SIMULATOR_WEBHOOK_URL=url,
            SIMULATOR_WEBHOOK_SECRETS="new,old",
            SIMULATOR_WEBHOOK_DELAYS="0.1",
        ) as provider,
    ):
        ref = provider.authorized(reference="order-3")
        provider.post(f"/v1/intents/{ref}/capture", key="once")
        provider.post(f"/v1/intents/{ref}/capture", key="once")
        deliveries = eventually(lambda: all_accepted(provider, 3), 20, "three accepted events")

    assert [entry["type"] for entry in deliveries] == [
        "intent.prepared",
        "intent.authorized",
        "intent.captured",
    ]
    assert sum(entry["attempts"] for entry in deliveries) == 5 == len(seen)
    captured = next(raw for raw, _ in seen if b"intent.captured" in raw)
    event = json.loads(captured)
    assert event["data"]["object"]["id"] == ref
    assert event["data"]["object"]["reference"] == "order-3"
    for raw, header in seen:
        check_signature(raw, header)


def all_accepted(provider, count):
    deliveries = provider.get("/control/deliveries").body["data"]
    done = len(deliveries) == count and all(entry["delivered"] for entry in deliveries)
    return deliveries if done else None


def check_signature(raw, header):
    stamp, *marks = header.split(",")
    signed = stamp.removeprefix("t=").encode() + b"." + raw
    assert marks == [
        "v1=" + hmac.new(secret, signed, hashlib.sha256).hexdigest() for secret in (b"new", b"old")
    ]


def test_no_event_is_written_where_no_address_is_set(provider):
    provider.captured()

    assert provider.get("/control/deliveries").body["data"] == []
