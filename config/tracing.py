"""OpenTelemetry, an extra: spans over OTLP where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says so.

Nothing of it is imported otherwise. The packages are those of ``config/requirements-otel.txt``.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from sagas import correlation, spans

MOST_LINKS = 128


class Missing(ImproperlyConfigured):
    """An endpoint is set, and what speaks to it is not installed."""


def begin() -> Any:
    """Open spans from now on if an endpoint is set; return what collects them, else None.

    :raises Missing: if the packages are not installed
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    try:
        sdk = import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        http = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        resources = import_module("opentelemetry.sdk.resources")
    except ModuleNotFoundError as missing:
        raise Missing(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set and {missing.name} is not installed:"
            " python3 -m pip install -r config/requirements-otel.txt, or unset it"
        ) from missing
    name = os.environ.get("OTEL_SERVICE_NAME") or "concord"
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": name}))
    provider.add_span_processor(export.BatchSpanProcessor(http.OTLPSpanExporter()))
    spans.use(Opener(provider.get_tracer("concord")))
    return provider


class Opener:
    """Opens spans of OpenTelemetry under the trace context that the rows carry."""

    def __init__(self, tracer: Any) -> None:
        """Keep the tracer, and the parts of the API that are needed."""
        self.tracer = tracer
        self.api = import_module("opentelemetry.trace")
        self.wire = import_module("opentelemetry.trace.propagation.tracecontext")

    @contextmanager
    def __call__(
        self, name: str, kind: str, links: Iterable[str | None], facts: dict[str, spans.Fact]
    ) -> Iterator[None]:
        """Run the block as a span; what it tells the world carries the span as its parent."""
        current = correlation.current()
        parent = self._context(current.traceparent if current else None)
        if current is not None:
            facts = {**facts, "concord.correlation_id": current.correlation_id}
        opened = self.tracer.start_span(
            name,
            context=parent,
            kind=self.api.SpanKind[kind.upper()],
            links=self._links(links, parent),
            attributes=facts,
        )
        # Only the type of what goes wrong: the text may hold what belongs to a customer.
        with self.api.use_span(
            opened, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                with correlation.correlated(self._inside(current, opened)):
                    yield
            except BaseException as wrong:
                status = self.api.Status(self.api.StatusCode.ERROR, type(wrong).__name__)
                opened.set_status(status)
                raise

    def _context(self, traceparent: str | None) -> Any:
        """Return the stored context; an empty one, and not the enclosing span, if there is none."""
        carrier = {"traceparent": traceparent} if traceparent else {}
        empty = import_module("opentelemetry.context").Context()
        return self.wire.TraceContextTextMapPropagator().extract(carrier, context=empty)

    def _links(self, links: Iterable[str | None], parent: Any) -> list[Any]:
        """Link what is told to be, and the message that has brought the work of another trace."""
        contexts = dict.fromkeys(filter(None, links))
        found = [self._span_context(self._context(one)) for one in contexts]
        around = self.api.get_current_span().get_span_context()
        if around.is_valid and around.trace_id != self._span_context(parent).trace_id:
            found.append(around)
        return [self.api.Link(one) for one in found[:MOST_LINKS] if one.is_valid]

    def _span_context(self, context: Any) -> Any:
        return self.api.get_current_span(context).get_span_context()

    def _inside(self, current: correlation.Correlation | None, opened: Any) -> Any:
        mine = opened.get_span_context()
        written = f"00-{mine.trace_id:032x}-{mine.span_id:016x}-{int(mine.trace_flags):02x}"
        return replace(current or correlation.begin(), traceparent=written)
