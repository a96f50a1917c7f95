"""A whole command of `eeg2fmri` in a process of its own: time, CPU time and memory at the peak."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace

from eeg2fmri.data.simulation import simulate_dataset

from .measuring import machine


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("job", help="A recording to generate from, or `demo`, or `prepare` (two simulated subjects).")


def run(options: Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = ["--output", f"{folder}/output"]
        if options.job == "prepare":
            dataset = simulate_dataset(f"{folder}/noddi", preset="noddi", num_subjects=2)
            arguments = ["prepare", str(dataset), "--layout", "noddi", "--test-subjects", "0", *output]
        else:
            arguments = ["generate", "--demo" if options.job == "demo" else options.job, *output]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "eeg2fmri.cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"eeg2fmri {' '.join(arguments)} failed")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    command = f"eeg2fmri {arguments[0]} {os.path.basename(arguments[1])}"
    print(f"{command}: {wall:.0f} s, {cpu:.0f} s of CPU, {peak:.0f} MB at the peak")
    print(machine())
