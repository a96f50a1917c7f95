"""Score a pipeline on simulated subjects that it has never seen, with the controls that the scores need.

eeg2fmri simulate --output sim-test --subjects 10 --seed 2
python scripts/evaluate.py --model eeg2fmri-sim-small --train_data_dir pairs --test_data_dir sim-test
"""

import argparse
import json
import sys
from pathlib import Path

from eeg2fmri.errors import EEG2fMRIError

MARKS = ("<!-- results -->", "<!-- /results -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Embedded pipeline's name, a folder, or a Hub id.")
    parser.add_argument("--train_data_dir", required=True, help="Paired dataset that it was trained on.")
    parser.add_argument("--test_data_dir", required=True, help="Simulated BIDS dataset with derivatives/truth.")
    parser.add_argument("--output", default="results.json", help="Where the results go.")
    parser.add_argument("--update", nargs="*", default=[], help="Documents whose marked table is renewed.")
    parser.add_argument("--num_inference_steps", type=int, default=10, help="Steps of the samples.")
    parser.add_argument("--batch_size", type=int, default=16, help="Windows denoised at once.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of noise and bootstrap.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="Of the networks.")
    args = parser.parse_args()
    try:
        text = table(evaluate(args))
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(text)
    for path in args.update:
        update(path, text)


def evaluate(args: argparse.Namespace) -> dict:
    import torch

    from eeg2fmri import PairedDataset
    from eeg2fmri.evaluation.coupling import evaluate_coupling
    from eeg2fmri.files import publish_file
    from eeg2fmri.hub import load_pipeline, resolve_model

    pipe = load_pipeline(resolve_model(args.model)).to(dtype=getattr(torch, args.dtype))
    pipe.set_progress_bar_config(disable=True)
    results = evaluate_coupling(
        pipe,
        PairedDataset(args.train_data_dir, "train"),
        Path(args.test_data_dir),
        num_inference_steps=args.num_inference_steps,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    with publish_file(args.output) as path:
        path.write_text(json.dumps(results, indent=1) + "\n")
    return results


def table(results: dict) -> str:
    lines = [
        "| row | r | r net of global signal | r, EEG shifted (95th percentile) | p | r, another's EEG |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results["rows"].items():
        scores = (row["r"], row["r_net_of_global"])
        cells = [f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" for score in scores]
        cells += [f"{row['r_shifted_eeg_95th_percentile']:.3f}", f"{row['p_shifted_eeg']:.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['r_other_subject']['mean']:.3f} |")
    subjects = f"{results['num_test_subjects']} test subjects, {results['num_training_subjects']} training subjects."
    return "\n".join([*lines, "", subjects])


def update(path: str, text: str) -> None:
    """Put the table between the two marks of a document."""
    document = Path(path).read_text()
    before, _, rest = document.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    Path(path).write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
