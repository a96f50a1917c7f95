"""How often the tests of the evaluation find EEG information where there is none, counted over groups of subjects.

python scripts/false_positives.py --output false-positives --jobs 2
"""

import argparse
import sys
from pathlib import Path

from eeg2fmri.errors import EEG2fMRIError
from eeg2fmri.evaluation.false_positives import as_markdown, false_positives

RECIPE = Path(__file__).parent / "recipes" / "sim-small.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="Folder; what is finished in it is not made again.")
    parser.add_argument("--model", default="eeg2fmri-sim-small", help="A pipeline to test too.")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="Of the pairs, on which the ridges are fitted.")
    parser.add_argument("--groups", type=int, default=25, help="Of test subjects.")
    parser.add_argument("--group_size", type=int, default=8, help="Test subjects in each.")
    parser.add_argument("--training_subjects", type=int, default=20, help="On whom the ridges are fitted.")
    parser.add_argument("--volumes", type=int, help="Of a run; the preset's by default.")
    parser.add_argument("--seed", type=int, default=0, help="Of the simulation.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes of simulation and preparation.")
    given = parser.parse_args()
    try:
        counts = false_positives(
            given.output,
            given.recipe,
            model=given.model,
            num_groups=given.groups,
            group_size=given.group_size,
            num_training=given.training_subjects,
            num_volumes=given.volumes,
            seed=given.seed,
            num_jobs=given.jobs,
        )
        print(as_markdown(counts))
        return 0
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
