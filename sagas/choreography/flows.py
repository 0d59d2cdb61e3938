"""Every choreography of the project, found when Django is ready."""

from sagas.contexts import with_tables
from sagas.core.choreography import Choreography
from sagas.core.commands import context_of
from sagas.core.definition import InvalidDefinition

FLOWS: dict[str, Choreography] = {}


def add(flow: Choreography) -> Choreography:
    """Register a choreography.

    :raises InvalidDefinition: if a context is unknown, a hop tells what is not its own, or another
        flow has this name
    """
    known = FLOWS.get(flow.name)
    if known is not None and known is not flow:
        raise InvalidDefinition(f"{flow.name} is defined twice")
    labels = with_tables()
    for context in (context_of(flow.begins_with), *(hop.context for hop in flow.hops)):
        if context not in labels:
            raise InvalidDefinition(f"{flow.name}: {context} is no context")
    for hop in flow.hops:
        if hop.tells and context_of(hop.tells) != hop.context:
            raise InvalidDefinition(f"{flow.name}: {hop.context} cannot tell {hop.tells}")
    FLOWS[flow.name] = flow
    return flow


def begun_by(event: str) -> list[Choreography]:
    """Return the flows that begin with an event."""
    return [flow for flow in FLOWS.values() if flow.begins_with == event]
