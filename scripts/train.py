"""Train EEG2fMRIPipeline on a paired dataset.

accelerate launch scripts/train.py --train_data_dir pairs --recipe scripts/recipes/sim-small.json --output_dir run
"""

import argparse
import sys
from dataclasses import fields

from eeg2fmri.errors import EEG2fMRIError
from eeg2fmri.training.config import TrainingConfig


def parse_args() -> TrainingConfig:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for setting in fields(TrainingConfig):
        text = f"{setting.metadata['help']} Default: {setting.default!r}."
        if isinstance(setting.default, bool):
            parser.add_argument(f"--{setting.name}", action="store_true", help=text)
        else:
            parser.add_argument(
                f"--{setting.name}",
                type=type(setting.default),
                default=setting.default,
                choices=setting.metadata.get("choices"),
                help=text,
            )
    return TrainingConfig(**vars(parser.parse_args()))


def main() -> None:
    try:
        config = parse_args()
        from eeg2fmri.training.trainer import Trainer

        print(f"Saved a pipeline to {Trainer(config).train()}")
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
