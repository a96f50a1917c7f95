"""Several processes train as one does; Accelerate's configurations are as Accelerate reads them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from safetensors.torch import load_file

import forked
from eeg2fmri import PairedDataset
from eeg2fmri.errors import EEG2fMRIError, InputError
from eeg2fmri.files import publish_file
from eeg2fmri.recipes import read_recipe
from eeg2fmri.training.checks import check_batch_statistics, check_processes
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.models import MODELS
from eeg2fmri.training.trainer import Trainer
from tiny_training import tree

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "scripts" / "configs").glob("*.yaml"))


def launch(data, output, num_processes, *options):
    # Accelerate alone starts one process on a CPU, whatever --num_processes says: torchrun starts several.
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(ROOT / "scripts" / "configs" / "cpu.yaml"), "--module", "torch.distributed.run"),
        *("--standalone", "--nproc_per_node", str(num_processes), str(ROOT / "scripts" / "train.py")),
        *("--config", str(data / "recipe.yaml"), "--train_data_dir", str(data / "pairs"), "--output_dir", str(output)),
        *("--train_batch_size", str(4 // num_processes), "--report_to", "none"),
        *("--num_validation_samples", "0", "--early_stopping_patience", "0"),
        *("--conditioning_dropout_prob", "0.3", *map(str, options)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr


def losses(output):
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return torch.tensor([record["loss"] for record in records if "loss" in record], dtype=torch.float64)


def together(process):
    """Run `process(rank)` in two processes that end well."""
    numbers = [forked.start(lambda rank=rank: process(rank)) for rank in (0, 1)]
    assert [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers] == [0, 0]


def accelerated(rank, data, folder):
    """The trainer of one of two processes, one pair each, which Accelerate joins."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True) if rank == 0 else None
    meeting = folder / "port"
    if store is not None:
        with publish_file(meeting) as path:
            path.write_text(str(store.port))
    while not meeting.exists():
        time.sleep(0.01)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": meeting.read_text(), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ.update({**address, "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "RANK": str(rank)})
    os.environ["LOCAL_RANK"] = str(rank)
    config = TrainingConfig(
        train_data_dir=str(data / "pairs"),
        output_dir=str(folder / "run"),
        train_batch_size=1,
        gradient_accumulation_steps=1,
        num_validation_pairs=2,
        num_validation_samples=0,
        early_stopping_patience=0,
        report_to="none",
    )
    return Trainer(config, read_recipe(data / "recipe.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_as_one_and_resume(data, tmp_path):
    one, two, resumed = (tmp_path / name for name in ("one", "two", "resumed"))
    launch(data, one, 1, "--max_train_steps", 6, "--checkpointing_steps", 6)
    launch(data, two, 2, "--max_train_steps", 6, "--checkpointing_steps", 3)
    assert len(losses(one)) == 6
    assert (losses(one) - losses(two)).abs().max() < 1e-4
    settings = json.loads((two / "checkpoint-3" / "state.json").read_text())["settings"]
    assert settings["train_batch_size x processes"] == 4
    weights = [load_file(run / "unet" / "diffusion_pytorch_model.safetensors") for run in (one, two)]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-3 for name in weights[0])
    resumed.mkdir()
    (two / "checkpoint-3").rename(resumed / "checkpoint-3")
    (resumed / "log.jsonl").write_text((two / "log.jsonl").read_text())
    launch(data, resumed, 2, "--max_train_steps", 6, "--checkpointing_steps", 3, "--resume_from_checkpoint", "latest")
    (resumed / "checkpoint-3").rename(two / "checkpoint-3")
    assert tree(resumed / "checkpoint-6") == tree(two / "checkpoint-6")
    assert losses(resumed).equal(losses(two))


@pytest.mark.parametrize("model", ["ef_diffusion", "tag"])
def test_shards_predict_as_the_whole(data, tmp_path, model):
    """Two processes with half of every parameter each (FSDP2, here on the CPU); children hold shards of their own."""

    def process(rank):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        dataset = PairedDataset(data / "pairs", "train")
        recipe = {**read_recipe(data / "recipe.yaml"), "tag": {"latent_size": 8}}
        trained = MODELS[model](TrainingConfig(train_data_dir="x", output_dir="y", model=model), recipe, dataset)
        network, batch = trained.network.eval(), dataset[[0, 1]]
        dist.broadcast_object_list(weights := [network.state_dict()])
        network.load_state_dict(weights[0])
        with torch.no_grad():
            whole = trained.predict(network, batch, [1, 2], 2)
            mesh = init_device_mesh("cpu", (2,))
            fully_shard(list(network.children())[-1], mesh=mesh)
            fully_shard(network, mesh=mesh)
            torch.testing.assert_close(trained.predict(network, batch, [1, 2], 2), whole)
        dist.destroy_process_group()

    together(process)


def test_a_loss_that_is_no_number_names_the_pairs_of_the_process_that_had_it(data, tmp_path):
    def process(rank):
        trainer = accelerated(rank, data, tmp_path)
        loss = trainer.model.loss
        trainer.model.loss = lambda *arguments: loss(*arguments) * (float("nan") if rank else 1)
        with pytest.raises(EEG2fMRIError, match="a loss that is not finite") as error:
            trainer.state.optimizer_step()
        assert str(error.value).count(", volume ") == 1

    together(process)


def test_all_processes_have_the_main_ones_scores(data, tmp_path):
    """They decide by them whether to stop."""

    def process(rank):
        trainer = accelerated(rank, data, tmp_path)
        trainer.validate = lambda: {"validation_loss": float(rank)}
        trainer._log_validation()
        assert trainer._validations == [{"step": 0, "validation_loss": 0.0}]

    together(process)


def test_several_processes_are_refused_where_a_batchs_statistics_count():
    check_batch_statistics(SimpleNamespace(num_processes=2), "ef_diffusion")
    check_batch_statistics(SimpleNamespace(num_processes=1), "conditional_mean")
    with pytest.raises(InputError, match="found 2; expected 1, with --model conditional_mean"):
        check_batch_statistics(SimpleNamespace(num_processes=2), "conditional_mean")


def test_several_processes_of_which_one_starts_are_refused(monkeypatch):
    """Accelerate starts one process on a CPU without MPI. What it hands to that one tells how many were asked for."""

    def environment(*options):
        arguments = launch_command_parser().parse_args(["--cpu", *options, "train.py"])
        return prepare_simple_launcher_cmd_env(_validate_launch_command(arguments)[0])[1]

    def check(variables):
        with monkeypatch.context() as context:
            for name in ("ACCELERATE_USE_CPU", "MASTER_PORT", "WORLD_SIZE"):
                context.delenv(name, raising=False)
                if name in variables:
                    context.setenv(name, variables[name])
            check_processes(SimpleNamespace(num_processes=1))

    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"--num_processes.*scripts/configs/cpu\.yaml"):
        check(environment("--num_processes", "2"))
    check(environment("--num_processes", "1"))
    check({**environment("--num_processes", "2"), "WORLD_SIZE": "1"})
    check({})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(path):
    content = yaml.safe_load(path.read_text())
    config = load_config_from_file(str(path))
    read = config.to_dict()
    assert {name: value for name, value in content.items() if name != "fsdp_config"} == {
        name: read[name] for name in content if name != "fsdp_config"
    }
    assert (config.fsdp_config or {}) == content.get("fsdp_config", {})


def test_the_configurations_are_for_these_machines():
    kinds = {path.stem: load_config_from_file(str(path)).distributed_type for path in CONFIGS}
    assert kinds == {
        "cpu": DistributedType.NO,
        "single_gpu": DistributedType.NO,
        "multi_gpu_ddp": DistributedType.MULTI_GPU,
        "fsdp": DistributedType.FSDP,
    }


def test_a_cluster_says_in_flags_how_many_machines_it_has():
    """docs/scaling.md: the flags win over the configuration."""
    options = "--num_machines 2 --num_processes 16 --machine_rank 1 --main_process_ip node1 --main_process_port 29500"
    config = str(ROOT / "scripts" / "configs" / "multi_gpu_ddp.yaml")
    arguments = launch_command_parser().parse_args(["--config_file", config, *options.split(), "train.py"])
    environment = prepare_multi_gpu_env(_validate_launch_command(arguments)[0])
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert (arguments.num_machines, arguments.num_processes, arguments.machine_rank) == (2, 16, 1)
    assert (arguments.nproc_per_node, arguments.nnodes, arguments.node_rank) == ("8", "2", 1)
    assert arguments.rdzv_endpoint == "node1:29500"


def test_sharding_is_of_the_generation_that_checkpoints_understand(monkeypatch):
    """What the launcher hands to the processes."""
    parser = launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(ROOT / "scripts" / "configs" / "fsdp.yaml"), "train.py"])
    arguments, _, _ = _validate_launch_command(arguments)
    assert arguments.use_fsdp
    environment = prepare_multi_gpu_env(arguments)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
