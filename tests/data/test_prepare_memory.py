"""How much memory `prepare` takes on a dataset of NODDI's size."""

import os
import subprocess
import sys

import pytest

from eeg2fmri.data.simulation import simulate_dataset


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_subjects_of_noddi_s_size_stay_under_two_gigabytes(tmp_path):
    tree = simulate_dataset(tmp_path / "noddi", preset="noddi", num_subjects=2)
    command = [sys.executable, "-m", "eeg2fmri.cli", "prepare", tree, "--layout", "noddi", "--test-subjects", "0"]
    process = subprocess.Popen([*command, "--output", tmp_path / "pairs"])
    _, status, used = os.wait4(process.pid, 0)  # of the process and of those that it waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss < 2e9 / 1024
