"""The command line; `eeg2fmri --help` lists the commands. Heavy imports wait for the command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import EEG2fMRIError, InputError

app = typer.Typer(
    help="Turn EEG recordings into fMRI volumes with a conditional diffusion model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def generate(
    recording: Annotated[
        Path | None, typer.Argument(help="EEG in any format that MNE reads (.vhdr, .edf, .bdf, .set, .fif, ...).")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the NIfTI, its JSON and the picture.")] = Path("output"),
    model: Annotated[
        str, typer.Option(help="Embedded pipeline's name, a folder, or a Hub repository id.")
    ] = "eeg2fmri-sim-small",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="BOLD NIfTI of the same person, in the checkpoint's space.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps, the pipeline's own by default; 1: about the conditional mean.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, ddpm, dpmsolver++, unipc, euler, heun, ...; the pipeline's by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise; the same seed gives the same volumes.")] = 42,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; chosen automatically by default.")] = None,
    batch_size: Annotated[int, typer.Option(help="Volumes denoised at once.")] = 16,
    demo: Annotated[bool, typer.Option("--demo", help="Run on a freshly simulated recording.")] = False,
) -> None:
    """Generate fMRI volumes from an EEG recording: a NIfTI, a BIDS-style JSON and a picture."""
    if demo == (recording is not None):
        raise InputError(
            "RECORDING",
            found="a recording and --demo" if demo else "no recording",
            expected="either a recording or --demo",
            remedy="Give the path of an EEG file, or --demo.",
        )
    from .generation import generate_files, write_demo_recording

    paths = generate_files(
        write_demo_recording(output, seed) if recording is None else recording,
        output,
        model=model,
        revision=revision,
        reference=reference,
        num_inference_steps=steps,
        scheduler=scheduler,
        seed=seed,
        device=device,
        batch_size=batch_size,
    )
    for path in paths:
        print(path)


@app.command()
def simulate(
    subjects: Annotated[int, typer.Option(min=1, help="Number of subjects.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the new dataset; must not exist. simulated-PRESET by default.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Geometry and timing: mini, mini-24, noddi or xp2.")] = "mini",
    level: Annotated[str, typer.Option(help="default, realistic, easy or null (no coupling).")] = "default",
    layout: Annotated[
        str | None, typer.Option(help="bids, noddi or xp2, for prepare --layout; the preset's own by default.")
    ] = None,
    runs: Annotated[
        int | None, typer.Option(help="Runs of a subject; the layout's by default: five of xp2, else one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 42,
    volumes: Annotated[int | None, typer.Option(help="Volumes a run; the preset's by default.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    eeg_front: Annotated[
        float, typer.Option(help="Seconds of EEG added to the front of the recordings; cut off it where negative.")
    ] = 0.0,
    dropped_markers: Annotated[
        float, typer.Option(help="Volume markers missing in each recording: how many, or below 1 their share.")
    ] = 0.0,
    raw_eeg: Annotated[
        bool, typer.Option("--raw-eeg", help="EEG as recorded in the scanner: 1 kHz, gradient and pulse artefacts.")
    ] = False,
) -> None:
    """Simulate simultaneous EEG-fMRI with known coupling, in the folders that real datasets come in."""
    from .data.simulation import simulate_dataset

    print(
        simulate_dataset(
            f"simulated-{preset}" if output is None else output,
            preset=preset,
            level=level,
            layout=layout,
            num_subjects=subjects,
            num_runs=runs,
            seed=seed,
            num_volumes=volumes,
            num_jobs=jobs,
            eeg_front=eeg_front,
            dropped_markers=dropped_markers,
            raw_eeg=raw_eeg,
        )
    )


@app.command()
def prepare(
    root: Annotated[Path, typer.Argument(help="The dataset's folder, or the CSV file of the layout table.")],
    output: Annotated[Path, typer.Option(help="Folder of the paired dataset; must not exist.")],
    recipe: Annotated[
        Path | None,
        typer.Option(help="YAML with the sections eeg_processor and volume_processor; noddi and xp2 have their own."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Instead of a recipe: a published pipeline, whose processors are used, for fine-tuning."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of --model: branch, tag or commit on the Hub.")] = None,
    layout: Annotated[str, typer.Option(help="bids, noddi, xp2 or table.")] = "bids",
    preset: Annotated[
        str, typer.Option(help="aligned (by the scanner's markers), or calhas (from sample 0, as reference [24]).")
    ] = "aligned",
    eeg: Annotated[str | None, typer.Option(help="xp2 only: preprocessed (default) or raw.")] = None,
    tasks: Annotated[str | None, typer.Option(help="xp2 only: all (default) or MIpost, as the paper.")] = None,
    validation_subjects: Annotated[int, typer.Option(help="Subjects kept for validation.")] = 1,
    test_subjects: Annotated[int, typer.Option(help="Subjects kept for the test.")] = 1,
    marker: Annotated[
        str | None, typer.Option(help="Volume marker or pattern; found by count and spacing by default.")
    ] = None,
    lead_in: Annotated[
        int | None,
        typer.Option(help="Markers before the first stored volume; negative: stored volumes before the first marker."),
    ] = None,
    first_volume: Annotated[
        float | None, typer.Option(help="Seconds from the first EEG sample to the first volume, instead of markers.")
    ] = None,
    remove_scanner_artifacts: Annotated[
        bool | None,
        typer.Option(
            "--remove-scanner-artifacts/--keep-scanner-artifacts",
            help="Remove gradient and pulse artefacts of raw in-scanner EEG; by default for --layout xp2 --eeg raw.",
            show_default=False,
        ),
    ] = None,
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Leave unusable runs out.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Pair EEG windows with volumes by the scanner's markers, split by subject, ready for training."""
    from .data.prepare import prepare_dataset
    from .hub import load_processors, resolve_model

    layout_options = {name: value for name, value in (("eeg", eeg), ("tasks", tasks)) if value is not None}
    path, problems = prepare_dataset(
        root,
        output,
        recipe=recipe,
        processors=None if model is None else load_processors(resolve_model(model, revision)),
        layout=layout,
        layout_options=layout_options,
        preset=preset,
        marker=marker,
        lead_in=lead_in,
        first_volume=first_volume,
        remove_scanner_artifacts=remove_scanner_artifacts,
        num_validation=validation_subjects,
        num_test=test_subjects,
        seed=seed,
        skip_invalid=skip_invalid,
        num_jobs=jobs,
    )
    for problem in problems:
        print(f"{problem.kind}: {problem.run}: {problem.reason}", file=sys.stderr)
    print(path)


@app.command()
def split(
    pairs: Annotated[Path, typer.Argument(help="The paired dataset.")],
    name: Annotated[str, typer.Option(help="Of the new scheme; folds and left-out subjects add their own.")],
    kind: Annotated[str, typer.Option(help="subjects, paper, k-fold, leave-one-out or within-run.")] = "subjects",
    validation_subjects: Annotated[int | None, typer.Option(help="Subjects for validation; 1 by default.")] = None,
    test_subjects: Annotated[int | None, typer.Option(help="subjects: for the test; 1 by default.")] = None,
    folds: Annotated[int | None, typer.Option(help="k-fold: how many; 5 by default.")] = None,
    validation_share: Annotated[float | None, typer.Option(help="within-run: of the pairs; 0.1 by default.")] = None,
    test_share: Annotated[float | None, typer.Option(help="within-run: of the pairs; 0.1 by default.")] = None,
    gap: Annotated[
        float | None, typer.Option(help="within-run: seconds between parts; window and response by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw; 42 by default.")] = None,
) -> None:
    """Add a named split to a paired dataset, with statistics of its training part, without reading a recording."""
    from .data.schemes import make_schemes

    options = {
        "num_validation": validation_subjects,
        "num_test": test_subjects,
        "num_folds": folds,
        "validation_share": validation_share,
        "test_share": test_share,
        "gap": gap,
        "seed": seed,
    }
    given = {option: value for option, value in options.items() if value is not None}
    for path in make_schemes(pairs, kind, name, **given):
        print(path)


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Embedded pipeline's name, a folder, or a Hub id; with --predictions any name; none: baselines alone."
        ),
    ],
    dataset: Annotated[Path, typer.Argument(help="Paired dataset; its test subjects are scored.")],
    output: Annotated[Path, typer.Option(help="Folder for results and report; must not exist.")],
    data_split: Annotated[
        str,
        typer.Option(
            help="Named split, or a pattern such as 'cv-*' for folds; {split} in MODEL and --predictions is its name."
        ),
    ] = "default",
    protocol: Annotated[
        str, typer.Option(help="full, or quick (fewer samples, image scores of 20 volumes).")
    ] = "full",
    samples: Annotated[int | None, typer.Option(help="Samples of every volume, instead of the protocol's.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of a sample; the pipeline's own by default.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Folder with a NIfTI for every test run, made by any other model.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where the raw dataset is, when it was moved.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
    card: Annotated[
        list[Path] | None, typer.Option(help="Model card or document whose marked table is renewed; repeatable.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Scores of another model on the same test runs, to be compared with.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; chosen automatically by default.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the networks: float32 or bfloat16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Volumes denoised at once.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of noise, shifts and bootstrap.")] = 42,
) -> None:
    """Score a model, or every fold's, beside every baseline and control, and say whether it uses the EEG."""
    from .cards import update_metadata, update_results
    from .evaluation.protocol import evaluate as run_protocol
    from .evaluation.tables import markdown
    from .generation import find_device

    results = run_protocol(
        model,
        dataset,
        output,
        data_split=data_split,
        protocol=protocol,
        num_samples=samples,
        predictions=predictions,
        root=root,
        revision=revision,
        num_inference_steps=steps,
        batch_size=batch_size,
        seed=seed,
        device=str(find_device(device)),
        dtype=dtype,
        against=against,
    )
    text = markdown(results)
    for path in card or []:
        update_results(path, text)
        update_metadata(path, results)
    print(text, *results["verdict"]["sentences"], output / "report.html", sep="\n")


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="Embedded pipeline's name, a folder, or a Hub id.")],
    dataset: Annotated[Path, typer.Argument(help="Paired dataset; its test runs are looked at.")],
    output: Annotated[Path, typer.Option(help="Folder for JSON, figures and page; must not exist.")],
    windows_per_run: Annotated[int, typer.Option(help="EEG windows of each run, evenly spread.")] = 8,
    data_split: Annotated[str, typer.Option(help="Named split, such as a fold's.")] = "default",
    steps: Annotated[int, typer.Option(help="Denoising steps, over which attention is averaged.")] = 4,
    root: Annotated[Path | None, typer.Option(help="Where the raw dataset is, when it was moved.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; chosen automatically by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of noise and permutations.")] = 42,
) -> None:
    """Show what a model looks at, and whether that is the network that drives each region."""
    from .evaluation.explanation.explain import explain as run_explanation
    from .generation import find_device

    explanation = run_explanation(
        model,
        dataset,
        output,
        data_split=data_split,
        windows_per_run=windows_per_run,
        num_inference_steps=steps,
        root=root,
        revision=revision,
        seed=seed,
        device=str(find_device(device)),
    )
    found = explanation["found"]
    print(found["headline"], *found["sentences"], output / "explanation.html", sep="\n")


def main() -> None:
    """Entry point: one clear line and exit code 2 on bad input, no traceback."""
    try:
        app()
    except EEG2fMRIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
