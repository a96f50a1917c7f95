"""A checkpoint gives back exactly what was saved, to the same run only; what was not saved is refused."""

import os
import random
import shutil
import stat

import pytest
import torch
import torch.distributed as dist

import forked
from eeg2fmri.errors import CheckpointError, FileError, InputError
from eeg2fmri.training.checkpoint import find_checkpoint, list_checkpoints
from eeg2fmri.training.config import TrainingConfig
from eeg2fmri.training.folder_lock import FolderLock
from tiny_training import IDENTITY, State, tree


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return State(4).save(tmp_path_factory.mktemp("saved"))


def test_loading_is_the_inverse_of_saving(saved):
    state = State(9)
    state.load(saved)
    expected = State(4).tensors()
    assert state.step == 4
    assert state.ema.optimization_step == 4
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.tensors().items())
    assert state.tensors().keys() == expected.keys()


def test_saving_changes_nothing_in_the_run(tmp_path):
    state = State(4)
    state.save(tmp_path)
    expected = State(4).tensors()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.tensors().items())


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        path = State(4).save(tmp_path)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.rglob("*") if file.is_file()}
    assert modes == {0o644}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path, path / "unet")} == {0o755}
    assert os.listdir(tmp_path) == ["checkpoint-4"]


def test_later_checkpoints_of_a_run_that_went_back_are_kept(saved, tmp_path):
    for step in (2, 4, 6):
        State(step).save(tmp_path)
    State(3).save(tmp_path, limit=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-4", "checkpoint-6"]
    assert find_checkpoint(tmp_path, "latest").name == "checkpoint-6"
    State(4).save(tmp_path, limit=1)
    assert tree(tmp_path / "checkpoint-4") == tree(saved)


def identity(**changes):
    config = TrainingConfig(train_data_dir="pairs", output_dir="run", **changes)
    return {
        **config.identity(1),
        "recipe.unet": {"block_out_channels": [8, 16], "attention": {"heads": 2}},
        "dataset.index": "abc",
    }


OTHER = {bool: lambda value: not value, int: lambda value: value + 1, float: lambda value: value / 2 + 0.1}
OTHER[str] = lambda value: f"{value}-other"


@pytest.mark.parametrize("name", sorted(identity()))
def test_every_other_setting_is_refused_with_both_values(name, tmp_path):
    path = State(2).save(tmp_path, identity=identity())
    changed = identity()
    if isinstance(changed[name], dict):
        changed[name] = {**changed[name], "attention": {"heads": 4}}
        shown = ("recipe.unet.attention.heads", "found 4; expected 2, as in checkpoint-2")
    else:
        changed[name] = OTHER[type(changed[name])](changed[name])
        shown = (name, f"found {changed[name]!r}; expected {identity()[name]!r}, as in checkpoint-2")
    state = State(9)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    with pytest.raises(InputError) as error:
        state.load(path, changed)
    assert all(text in str(error.value) for text in shown)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())


def test_a_setting_that_is_gone_or_new_is_refused(saved):
    for changed in ({**IDENTITY, "added": 1}, {"recipe": IDENTITY["recipe"]}):
        with pytest.raises(InputError, match=r"--added|--learning_rate"):
            State(9).load(saved, changed)


def remove(folder, generator):
    generator.choice([path for path in folder.rglob("*") if path.is_file()]).unlink()


def truncate(folder, generator):
    path = generator.choice([path for path in folder.rglob("*") if path.is_file()])
    os.truncate(path, generator.randrange(path.stat().st_size))


def flip(folder, generator):
    path = generator.choice([path for path in folder.rglob("*") if path.is_file()])
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def swap(folder, generator):
    other = State(6).save(folder.parent / "other")
    name = generator.choice(["unet", "unet_ema", "optimizer.safetensors", "eeg_encoder"])
    shutil.move(folder / name, folder.parent / "away")
    shutil.move(other / name, folder / name)


def add(folder, generator):
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")


def rename(folder, generator):
    """The averaged weights in the place of the trained ones."""
    shutil.rmtree(folder / "unet")
    shutil.copytree(folder / "unet_ema", folder / "unet")


@pytest.mark.parametrize(
    ("damage", "times"), [(remove, 3), (truncate, 5), (flip, 15), (swap, 2), (add, 1), (rename, 1)]
)
def test_what_was_not_saved_is_never_loaded(damage, times, saved, tmp_path):
    state = State(9)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    for number in range(times):
        folder = tmp_path / str(number) / saved.name
        shutil.copytree(saved, folder)
        damage(folder, random.Random(number))
        with pytest.raises((CheckpointError, InputError)) as error:
            state.load(folder)
        assert str(folder) in str(error.value) or "checkpoint-4" in str(error.value)
        assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())


def test_a_second_trainer_is_refused_and_a_dead_one_forgotten(tmp_path):
    ready, go = os.pipe(), os.pipe()

    def first():
        lock = FolderLock(tmp_path / "run")
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os.kill(os.getpid(), 9)
        lock.release()

    process = forked.start(first)
    os.close(ready[1])
    assert os.read(ready[0], 1) == b"x"
    with pytest.raises(FileError, match=rf"process {process} on {os.uname().nodename}"):
        FolderLock(tmp_path / "run", patience=0.1)
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -9
    lock = FolderLock(tmp_path / "run", patience=0.1)
    lock.release()
    FolderLock(tmp_path / "run", patience=0.1).release()
    assert not (tmp_path / "run" / ".trainer.json").exists()


def test_shards_are_saved_as_a_whole_and_shared_out_again(saved, tmp_path):
    """Two processes with half of every parameter each (FSDP2, here on the CPU)."""

    def process(rank):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        state = State(9)
        mesh = init_device_mesh("cpu", (2,))
        fully_shard(state.network, mesh=mesh)
        state.optimizer = torch.optim.AdamW(state.network.parameters(), lr=1e-4)
        state.load(saved)
        shard = next(state.network.parameters())
        assert shard.to_local().numel() < shard.numel()
        state.save(tmp_path / "run", is_main_process=rank == 0)
        dist.barrier()
        dist.destroy_process_group()

    processes = [forked.start(lambda rank=rank: process(rank)) for rank in (0, 1)]
    assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes] == [0, 0]
    assert tree(tmp_path / "run" / "checkpoint-4") == tree(saved)
