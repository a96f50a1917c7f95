"""What a small new group, with another montage and repetition time, gains from a published pipeline: a table.

python scripts/finetune.py --model eeg2fmri-sim-small --output fine-tuning --jobs 2
"""

import argparse
import sys
from pathlib import Path

from eeg2fmri.errors import EEG2fMRIError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="eeg2fmri-sim-small", help="Published pipeline.")
    parser.add_argument("--output", type=Path, required=True, help="Folder; what is finished in it is not made again.")
    parser.add_argument("--steps", type=int, default=200, help="Optimizer steps of every training.")
    parser.add_argument("--subjects", type=int, default=12, help="Of the new group.")
    parser.add_argument("--test_subjects", type=int, default=4, help="Of these, scored and not trained on.")
    parser.add_argument("--volumes", type=int, help="Of each subject; the preset's by default.")
    parser.add_argument("--seed", type=int, default=42, help="Of the group and of every training.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes that simulate and prepare.")
    given = parser.parse_args()

    from eeg2fmri.training.fine_tuning_table import Comparison, compare

    try:
        comparison = Comparison(
            given.model,
            given.output,
            num_steps=given.steps,
            num_subjects=given.subjects,
            num_test_subjects=given.test_subjects,
            num_volumes=given.volumes,
            seed=given.seed,
            num_jobs=given.jobs,
        )
        print(compare(comparison), end="")
        return 0
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
