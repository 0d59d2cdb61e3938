"""Flows of events without an orchestrator, and the watchdog that notices when one stops."""
