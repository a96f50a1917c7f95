"""How much memory `prepare` takes on a dataset of NODDI's size."""

import subprocess
import sys

import pytest

from eeg2fmri.data.simulation import simulate_dataset

# Linux counts what the parent had when it forked as the child's peak: a small process must start the measured one.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_subjects_of_noddi_s_size_stay_under_two_gigabytes(tmp_path):
    tree = simulate_dataset(tmp_path / "noddi", preset="noddi", num_subjects=2)
    prepare = [sys.executable, "-m", "eeg2fmri.cli", "prepare", tree, "--layout", "noddi", "--test-subjects", "0"]
    command = [sys.executable, "-c", MEASURE, *prepare, "--output", tmp_path / "pairs"]
    measured = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    exit_code, peak = map(int, measured.split())
    assert exit_code == 0
    assert 2e8 / 1024 < peak < 2e9 / 1024
