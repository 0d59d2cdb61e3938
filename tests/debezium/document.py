"""What docs/outbox.md says about Debezium: the statements for PostgreSQL and the connector."""

import json
import re

from tests.architecture.source import ROOT


def blocks(language):
    text = (ROOT / "docs" / "outbox.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def connector():
    [block] = [json.loads(text) for text in blocks("json") if "connector.class" in text]
    return block


def statements():
    [block] = [text for text in blocks("sql") if "debezium" in text]
    return block
