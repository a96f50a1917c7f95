"""The paper's model, its ablations and its baselines on simulated data of both presets, in one table.

python scripts/compare.py --output comparison                      (mini sizes, a table in docs/results.md)
python scripts/compare.py --output comparison-full --full          (the recordings' sizes, the paper's recipe; a GPU)

The same command goes on where it was stopped, and uses what is finished.
"""

import argparse
import sys
from pathlib import Path

from eeg2fmri.cards import update_results
from eeg2fmri.data.default_recipes import default_recipe
from eeg2fmri.errors import EEG2fMRIError
from eeg2fmri.evaluation.comparison import COMPARED, PAPER, Study, as_markdown, run_study
from eeg2fmri.generation import find_device
from eeg2fmri.recipes import read_recipe

RECIPES = Path(__file__).parent / "recipes"
NOTE = (
    "The paper's values were measured on real recordings with its own protocol. They stand here for orientation and "
    "can't be compared: simulated heads are more or less alike than real ones, and image scores follow that. Those of "
    "the ablations on NODDI follow from its percentages; its model's SSIM there is .4801 in 3.4 and .4806 in 3.5.4."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="Folder for data, models and scores.")
    parser.add_argument("--document", type=Path, default=Path("docs/results.md"), help="Holds the marked table.")
    parser.add_argument("--models", nargs="+", choices=COMPARED, default=list(COMPARED), help="Those to compare.")
    parser.add_argument("--full", action="store_true", help="The recordings' sizes and the paper's recipe.")
    parser.add_argument("--level", default="default", help="Of the simulation: default, realistic, easy or null.")
    parser.add_argument("--training_subjects", type=int, default=20, help="Of each preset.")
    parser.add_argument("--test_subjects", type=int, default=8, help="Of each preset, scored and not trained on.")
    parser.add_argument("--volumes", type=int, help="Of a run; the preset's by default.")
    parser.add_argument("--max_train_steps", type=int, help="Of every model; the recipe's by default.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="Of the trainings.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes of simulation and preparation.")
    args = parser.parse_args()
    try:
        device, sections = str(find_device(None)), []
        for preset in PAPER:
            study = Study(
                preset, args.full, args.level, args.training_subjects, args.test_subjects, num_volumes=args.volumes
            )
            recipe = _recipe(preset, args.full)
            if args.max_train_steps:
                recipe["training"]["max_train_steps"] = args.max_train_steps
            results = run_study(study, args.models, recipe, args.output / preset, args.seeds, device, args.jobs)
            sections.append(f"{as_markdown(study, results)}\n\n{_budget(recipe)}")
        update_results(args.document, "\n\n".join([NOTE, *sections]), mark="comparison")
        print(*sections, sep="\n\n")
        return 0
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"stopped; the same command goes on. {stop}", file=sys.stderr)
        return 130


def _recipe(preset: str, full: bool) -> dict[str, dict]:
    if not full:
        return read_recipe(RECIPES / f"comparison-{preset}.yaml")
    # The paper's networks and settings, on its reading of each dataset.
    return {**read_recipe(RECIPES / "paper.yaml"), **default_recipe(preset, "calhas")}


def _budget(recipe: dict[str, dict]) -> str:
    training = recipe["training"]
    pairs = training["train_batch_size"] * training["gradient_accumulation_steps"]
    return f"Each model: {training['max_train_steps']} steps of {pairs} pairs."


if __name__ == "__main__":
    sys.exit(main())
