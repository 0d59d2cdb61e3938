"""A very short run of `manage.py chaos`, with everything real."""

import json
import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_short_run_shows_what_it_did_and_finds_nothing_wrong():
    command = ["chaos", "--minutes", "0.3", "--seed", "5", "--only", "F13,F21,F43", "--json"]
    done = subprocess.run(
        [sys.executable, "manage.py", *command, "--workers", "2", "--web", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["red"]) == (0, []), done.stderr[-3000:]
    assert {line["fault"] for line in verdict["faults"]} == {"F13", "F21", "F43"}
    assert min(line["evidence"] for line in verdict["faults"]) >= 2
    assert verdict["judgment"]["accepted"] == verdict["judgment"]["terminal"] > 0
