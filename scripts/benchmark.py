"""Measure what this repository claims to be fast, on this machine.

    python scripts/benchmark.py generation --model eeg2fmri-sim-small     (or `paper`: its sizes, random weights)
    python scripts/benchmark.py command recording.edf                     (or `demo`, or `prepare`)
    python scripts/benchmark.py training                                  (needs the extra `bench`)
    python scripts/benchmark.py loader
    python scripts/benchmark.py flops

Variants run in turn, several rounds; ratios are those of medians. Absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import command, flops, generation, loader, training
from eeg2fmri.errors import EEG2fMRIError

SUBJECTS = {"generation": generation, "command": command, "training": training, "loader": loader, "flops": flops}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subjects = parser.add_subparsers(required=True, metavar="subject")
    for name, module in SUBJECTS.items():
        subject = subjects.add_parser(name, description=module.__doc__, help=module.__doc__.splitlines()[0])
        module.add_arguments(subject)
        subject.set_defaults(run=module.run)
    options = parser.parse_args()
    try:
        options.run(options)
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
