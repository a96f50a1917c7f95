"""Row 10: hostile headers are refused before anything is allocated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults import hostile_headers

MAX_SECONDS = 2.0
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All cases in one child, which has imported everything before its memory is limited."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [TESTS, TESTS.parent / "src"]))}
    command = [sys.executable, hostile_headers.__file__, str(tmp_path_factory.mktemp("hostile"))]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc and RLIMIT_AS (Linux)")
@pytest.mark.parametrize("case", hostile_headers.CASES)
def test_refused_within_300_megabytes_and_2_seconds(outcomes, case):
    outcome, seconds = outcomes[case]
    assert outcome == "refused"
    assert seconds < MAX_SECONDS
