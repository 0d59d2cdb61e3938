"""OpenTelemetry is an extra: nothing when off, a clear no when half there, spans when on."""

import http.server
import subprocess
import sys
import threading

import pytest

from config import tracing
from sagas import correlation, spans
from tests.architecture.source import ROOT

PACKAGES = ROOT / "var" / "otel"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = "00-" + "ab" * 16 + "-00f067aa0ba902b7-01"


def test_without_an_endpoint_nothing_is_imported_and_no_span_is_made(monkeypatch):
    monkeypatch.delenv(ENDPOINT, raising=False)
    monkeypatch.setattr(tracing, "import_module", pytest.fail)

    assert tracing.begin() is None
    assert spans.span("step", saga="x") is spans.span("another")


def test_an_endpoint_without_the_packages_is_refused_with_what_to_install(monkeypatch):
    def nothing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setattr(tracing, "import_module", nothing)

    with pytest.raises(tracing.Missing, match=r"opentelemetry.sdk.trace is not installed.*-r"):
        tracing.begin()


def test_a_process_that_should_trace_and_cannot_does_not_start(monkeypatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv("PYTHONPATH", "")

    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "pip install -r config/requirements-otel.txt, or unset it" in done.stderr


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans as OpenTelemetry's collector does."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector(monkeypatch):
    if not PACKAGES.exists():
        pytest.skip(
            "OpenTelemetry is not installed beside the tests: python3 -m pip install"
            f" --target {PACKAGES.relative_to(ROOT)} -r config/requirements-otel.txt"
        )
    monkeypatch.syspath_prepend(str(PACKAGES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
    provider = tracing.begin()
    yield lambda: received(provider, server)
    spans.use(None)
    provider.shutdown()
    server.shutdown()
    server.server_close()
    thread.join()


def received(provider, server):
    """Every span that has come, by name."""
    import gzip

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    provider.force_flush()
    found = {}
    for path, headers, body in server.received:
        assert path == "/v1/traces"
        raw = gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            for scope in resource.scope_spans:
                found |= {one.name: one for one in scope.spans}
    return found


def test_spans_arrive_under_the_trace_that_the_rows_carry(collector):
    click = correlation.Correlation(correlation_id="click-0001", traceparent=PARENT)
    with correlation.correlated(click), spans.span("request", "server", method="POST"):
        inside = correlation.current()
        with spans.span("start"):
            pass

    request, start = (collector()[name] for name in ("request", "start"))
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert (start.trace_id.hex(), start.parent_span_id) == (TRACE, request.span_id)
    assert inside.traceparent == f"00-{TRACE}-{request.span_id.hex()}-01"
    facts = {one.key: one.value.string_value for one in request.attributes}
    assert facts == {"method": "POST", "concord.correlation_id": "click-0001"}


def test_what_a_message_brings_has_its_cause_as_parent_and_the_message_as_link(collector):
    heard = correlation.Correlation(correlation_id="click-0001", traceparent=PARENT)
    with (
        spans.span("deliver", "consumer"),
        correlation.correlated(heard),
        spans.span("hears", "consumer", again=True),
    ):
        pass

    deliver, hears = (collector()[name] for name in ("deliver", "hears"))
    assert (hears.trace_id.hex(), hears.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert deliver.trace_id.hex() != TRACE
    assert [link.span_id for link in hears.links] == [deliver.span_id]


def test_a_batch_of_many_causes_is_linked_to_each_and_the_child_of_none(collector):
    with spans.span("relay", "producer", [PARENT, OTHER, PARENT, None]):
        pass

    relay = collector()["relay"]
    assert relay.parent_span_id == b""
    assert [link.trace_id.hex() for link in relay.links] == [TRACE, "ab" * 16]


def test_what_goes_wrong_is_named_by_its_type_alone(collector):
    with pytest.raises(ValueError, match="4242"), spans.span("step"):
        raise ValueError("card 4242")

    step = collector()["step"]
    assert (step.status.code, step.status.message) == (2, "ValueError")
    assert list(step.events) == []
