"""Train a model on a paired dataset: from a recipe to a folder that `from_pretrained` loads.

accelerate launch scripts/train.py --config scripts/recipes/sim-small.yaml --train_data_dir pairs --output_dir run
"""

import sys

from eeg2fmri.errors import EEG2fMRIError
from eeg2fmri.training.flags import read_settings


def main() -> int:
    try:
        config, recipe = read_settings(description=__doc__)
        if config.dry_run:
            from eeg2fmri.training.dry_run import dry_run

            print(dry_run(config, recipe))
            return 0
        from eeg2fmri.training.trainer import Trainer

        end = Trainer(config, recipe).train()
        print(end.message)
        return end.exit_code
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
