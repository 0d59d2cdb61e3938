import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_fresh_clone_installs_itself_with_no_variable_but_home(tmp_path):
    clone = tmp_path / "my shop+1"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)

    done = subprocess.run(
        [os.path.realpath(sys.executable), "manage.py", "check"],
        cwd=clone,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
    assert (clone / ".venv" / "requirements.txt.sha256").exists()
    assert not (clone / ".venv" / "tests-requirements.txt.sha256").exists()
