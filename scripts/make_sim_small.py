"""Make the embedded pipeline again: simulate, prepare, train the prior and the diffusion, calibrate, evaluate.

python scripts/make_sim_small.py --work sim-small        (hours on two cores; finished steps are not repeated)
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "eeg2fmri-sim-small"
STEPS = 6
ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "scripts" / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="Folder for data, checkpoints and scores.")
    parser.add_argument("--subjects", type=int, default=1500, help="Simulated subjects.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes that simulate and prepare.")
    args = parser.parse_args()
    work, jobs = args.work, ["--jobs", args.jobs]
    simulated, pairs, prior, diffusion = (work / name for name in ("simulated", "pairs", "prior", "diffusion"))
    recipe, published = RECIPES / "sim-small.yaml", ROOT / "pipelines" / NAME
    eeg2fmri = [sys.executable, "-m", "eeg2fmri.cli"]
    train = [sys.executable, ROOT / "scripts" / "train.py", "--train_data_dir", pairs, "--report_to", "none"]
    train += ["--resume_from_checkpoint", "latest"]
    splits = ["--validation-subjects", 16, "--test-subjects", 16]
    step(simulated, [*eeg2fmri, "simulate", "--subjects", args.subjects, "--seed", 1, *jobs, "--output", simulated])
    step(pairs, [*eeg2fmri, "prepare", simulated, "--recipe", recipe, *splits, *jobs, "--output", pairs])
    step(prior / "config.json", [*train, "--config", RECIPES / "sim-small-prior.yaml", "--output_dir", prior])
    eight = ["--name", "eight", "--test-subjects", 8, "--validation-subjects", 24]
    step(pairs / "splits" / "eight", [*eeg2fmri, "split", pairs, *eight])
    step(diffusion / "model_index.json", [*train, "--config", recipe, "--prior", prior, "--output_dir", diffusion])
    publish(diffusion, pairs, published)
    evaluate(eeg2fmri, published, pairs, work / "scores")


def step(product: Path, command: list) -> None:
    """Run a command unless what it makes is there."""
    if not product.exists():
        subprocess.run([str(word) for word in command], check=True)


def publish(trained: Path, pairs: Path, folder: Path) -> None:
    """Calibrate on the validation subjects, and save in bfloat16, half the size; it is loaded as float32 again."""
    import torch
    from diffusers import DPMSolverMultistepScheduler

    from eeg2fmri import PairedDataset
    from eeg2fmri.evaluation.calibration import calibrated_gain
    from eeg2fmri.evaluation.runs import DatasetRun, root_of
    from eeg2fmri.files import publish_contents
    from eeg2fmri.hub import load_pipeline, read_training_record, save_for_hub, write_training_record

    pipe = load_pipeline(trained, torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_lu_lambdas=True)
    validation = PairedDataset(pairs, "validation")
    runs = [DatasetRun(validation, run, root_of(validation, None)) for run in validation.runs]
    gain = calibrated_gain(pipe, runs, num_inference_steps=STEPS)
    pipe.volume_processor.register_to_config(change_gain=round(gain, 3))
    pipe.register_to_config(default_denoising_steps=STEPS)
    with publish_contents(folder, last="model_index.json") as staging:
        save_for_hub(pipe, staging)
        write_training_record(staging, read_training_record(trained))


def evaluate(eeg2fmri: list, published: Path, pairs: Path, scores: Path) -> None:
    """Score it on the first eight of the test subjects, and write the table into README and card."""
    documents = [ROOT / "README.md", ROOT / "model_cards" / f"{NAME}.md"]
    cards = [word for path in documents for word in ("--card", path)]
    amount = ["--data-split", "eight", "--protocol", "quick", "--samples", 32, "--dtype", "bfloat16"]
    step(scores, [*eeg2fmri, "evaluate", published, pairs, *amount, *cards, "--output", scores])
    shutil.copyfile(scores / "results.json", ROOT / "model_cards" / f"{NAME}.results.json")


if __name__ == "__main__":
    main()
