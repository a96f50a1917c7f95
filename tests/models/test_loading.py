"""A checkpoint comes back whole, or not at all."""

import json
import pickle
import random
import shutil

import pytest
import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file, save_file

from eeg2fmri.errors import CheckpointError, FileError, InputError
from eeg2fmri.models.epg import EPGModel
from eeg2fmri.models.fd_unet import FDUNetModel

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


def tiny() -> FDUNetModel:
    torch.manual_seed(0)
    return FDUNetModel(
        sample_size=(4, 4, 4),
        in_channels=2,
        block_out_channels=(4, 8),
        cross_attention_dim=6,
        norm_num_groups=2,
        interaction_levels=(1,),
    )


@pytest.fixture
def saved(tmp_path):
    """A checkpoint in one file, as diffusers' pipelines lay it out, and its model."""
    model = tiny()
    model.save_pretrained(tmp_path / "unet")
    return model, tmp_path / "unet"


@pytest.fixture
def sharded(tmp_path):
    model = tiny()
    model.save_pretrained(tmp_path / "sharded", max_shard_size=8_000)
    return model, tmp_path / "sharded"


def assert_same(loaded, model) -> None:
    assert not any(p.is_meta for p in loaded.parameters())
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)


def public(model) -> str:
    return json.dumps({name: value for name, value in model.config.items() if not name.startswith("_")})


def rewrite(path, change) -> None:
    """Change the weights as another tool would, which writes no seal."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


class TestRoundTrip:
    def test_one_file(self, saved):
        model, folder = saved
        loaded, info = FDUNetModel.from_pretrained(str(folder), output_loading_info=True)
        assert_same(loaded, model)
        assert not any(info.values())
        assert not loaded.training
        assert loaded.config._name_or_path == str(folder)
        assert {name: loaded.config[name] for name in ("in_channels", "norm_num_groups")} == {
            "in_channels": 2,
            "norm_num_groups": 2,
        }
        assert sorted(item.name for item in folder.iterdir()) == ["config.json", WEIGHTS]

    def test_encoder(self, tmp_path):
        model = EPGModel(
            sample_size=(4, 6, 3), block_out_channels=(8,), position_embeddings=True, stem_stride=(2, 2, 1)
        )
        model.save_pretrained(tmp_path)
        loaded = EPGModel.from_pretrained(tmp_path)
        assert_same(loaded, model)
        assert loaded.token_grid == (2, 3, 3)

    @pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
    def test_subfolder_and_memory(self, saved, low_cpu_mem_usage):
        model, folder = saved
        loaded = FDUNetModel.from_pretrained(
            folder.parent, subfolder="unet", low_cpu_mem_usage=low_cpu_mem_usage, use_safetensors=True
        )
        assert_same(loaded, model)

    def test_variant(self, saved):
        model, folder = saved
        half = tiny().bfloat16()
        half.save_pretrained(folder, variant="bf16")
        assert_same(FDUNetModel.from_pretrained(folder, variant="bf16", dtype=torch.bfloat16), half)
        assert_same(FDUNetModel.from_pretrained(folder), model)

    def test_shards(self, sharded):
        model, folder = sharded
        assert len(list(folder.glob("*-of-*.safetensors"))) > 2
        assert_same(FDUNetModel.from_pretrained(folder), model)

    def test_shards_of_a_variant(self, tmp_path):
        model = tiny()
        model.save_pretrained(tmp_path, variant="ema", max_shard_size=8_000)
        assert_same(FDUNetModel.from_pretrained(tmp_path, variant="ema"), model)

    def test_one_file_saved_over_shards(self, sharded):
        model, folder = sharded
        torch.nn.init.zeros_(model.conv_out.weight)
        model.save_pretrained(folder)
        assert_same(FDUNetModel.from_pretrained(folder), model)

    @pytest.mark.parametrize("option", ["dtype", "torch_dtype"])
    def test_dtype(self, saved, option):
        model, folder = saved
        assert_same(FDUNetModel.from_pretrained(folder, **{option: torch.float64}), model.double())

    def test_device_map(self, saved):
        model, folder = saved
        assert_same(FDUNetModel.from_pretrained(folder, device_map="cpu"), model)

    def test_files_of_other_tools_carry_no_seal(self, saved):
        model, folder = saved
        rewrite(folder / WEIGHTS, lambda tensors: None)
        assert_same(FDUNetModel.from_pretrained(folder), model)

    def test_average_of_weights_saved_by_diffusers(self, saved):
        """`EMAModel` adds entries of its own to the configuration."""
        from diffusers.training_utils import EMAModel

        model, folder = saved
        ema = EMAModel(model.parameters(), decay=0.9, model_cls=FDUNetModel, model_config=model.config)
        ema.save_pretrained(folder)
        assert "decay" in json.loads((folder / "config.json").read_text())
        assert_same(FDUNetModel.from_pretrained(folder), model)

    def test_configuration_may_be_replaced_on_purpose(self, saved):
        assert FDUNetModel.from_pretrained(saved[1], sample_size=(8, 8, 8)).config.sample_size == (8, 8, 8)

    def test_from_config(self, saved):
        config = FDUNetModel.load_config(saved[1])
        assert FDUNetModel.from_config(config).num_parameters() == saved[0].num_parameters()

    def test_repository_of_the_hub(self, saved, monkeypatch):
        """The download itself is huggingface_hub's: here it is a folder that lies ready."""
        model, folder = saved
        asked = {}

        def download(name, **options):
            asked.update(options, name=name)
            return str(folder.parent)

        monkeypatch.setattr("eeg2fmri.models.loading.snapshot_download", download)
        loaded = FDUNetModel.from_pretrained("user/model", subfolder="unet", revision="v1", local_files_only=None)
        assert_same(loaded, model)
        assert loaded.config._name_or_path == "user/model"
        assert asked["name"] == "user/model"
        assert asked["revision"] == "v1"
        assert f"unet/{WEIGHTS}" in asked["allow_patterns"]


def drop(tensors):
    del tensors["conv_in.weight"]


def add(tensors):
    tensors["conv_in.wait"] = torch.zeros(1)


def reshape(tensors):
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :1].contiguous()


def to_integers(tensors):
    tensors["conv_in.weight"] = tensors["conv_in.weight"].to(torch.int32)


def not_a_number(tensors):
    tensors["conv_in.weight"][0, 0, 0, 0, 0] = float("nan")


def infinite(tensors):
    tensors["conv_in.weight"][0, 0, 0, 0, 0] = float("inf")


class TestFaults:
    @pytest.mark.parametrize("change", [drop, add, reshape, to_integers, not_a_number, infinite])
    @pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
    def test_wrong_weights(self, saved, change, low_cpu_mem_usage):
        rewrite(saved[1] / WEIGHTS, change)
        with pytest.raises(CheckpointError, match=r"conv_in\.wa?e?i") as caught:
            FDUNetModel.from_pretrained(saved[1], low_cpu_mem_usage=low_cpu_mem_usage)
        assert str(saved[1]) in caught.value.subject

    def test_weights_that_overflow_in_the_asked_precision(self, saved):
        rewrite(saved[1] / WEIGHTS, lambda tensors: tensors["conv_in.weight"].fill_(1e6))
        FDUNetModel.from_pretrained(saved[1])
        with pytest.raises(CheckpointError, match="float16"):
            FDUNetModel.from_pretrained(saved[1], dtype=torch.float16)

    def test_git_lfs_pointer(self, saved):
        (saved[1] / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        with pytest.raises(CheckpointError, match="git-lfs pointer"):
            FDUNetModel.from_pretrained(saved[1])

    @pytest.mark.parametrize("missing", ["config.json", WEIGHTS])
    def test_absent_file(self, saved, missing):
        (saved[1] / missing).unlink()
        with pytest.raises(CheckpointError, match=missing):
            FDUNetModel.from_pretrained(saved[1])

    def test_absent_folder(self, tmp_path):
        with pytest.raises(CheckpointError, match="nowhere"):
            FDUNetModel.from_pretrained(tmp_path / "nowhere")

    def test_absent_variant(self, saved):
        with pytest.raises(CheckpointError, match=r"fp16\.safetensors"):
            FDUNetModel.from_pretrained(saved[1], variant="fp16")

    @pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"in_channels": -1}', '{"_class_name": "EPGModel"}'])
    def test_damaged_configuration(self, saved, content):
        (saved[1] / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"config\.json"):
            FDUNetModel.from_pretrained(saved[1])

    def test_configuration_changed_after_saving(self, saved):
        path = saved[1] / "config.json"
        path.write_text(path.read_text().replace('"norm_num_groups": 2', '"norm_num_groups": 4'))
        with pytest.raises(CheckpointError, match=r"norm_num_groups=4.*norm_num_groups=2"):
            FDUNetModel.from_pretrained(saved[1])

    def test_weights_of_another_model(self, saved, tmp_path):
        EPGModel(sample_size=(4, 6, 3), block_out_channels=(8,)).save_pretrained(tmp_path / "epg")
        shutil.copy(tmp_path / "epg" / WEIGHTS, saved[1] / WEIGHTS)
        with pytest.raises(CheckpointError):
            FDUNetModel.from_pretrained(saved[1])

    def test_shard_of_another_checkpoint(self, sharded, tmp_path):
        torch.manual_seed(5)
        other = FDUNetModel.from_config(sharded[0].config)
        other.save_pretrained(tmp_path / "other", max_shard_size=8_000)
        shard = sorted(path.name for path in sharded[1].glob("*-of-*.safetensors"))[0]
        shutil.copy(tmp_path / "other" / shard, sharded[1] / shard)
        with pytest.raises(CheckpointError, match="checksum"):
            FDUNetModel.from_pretrained(sharded[1])

    def test_missing_shard(self, sharded):
        next(sharded[1].glob("*-00002-of-*.safetensors")).unlink()
        with pytest.raises(CheckpointError, match="00002"):
            FDUNetModel.from_pretrained(sharded[1])

    @pytest.mark.parametrize("name", ["../a.safetensors", "/a.safetensors", "shard.bin", "..", 3, None])
    def test_shard_names_that_lead_elsewhere(self, sharded, name):
        index = json.loads((sharded[1] / INDEX).read_text())
        index["weight_map"]["conv_in.weight"] = name
        (sharded[1] / INDEX).write_text(json.dumps(index))
        with pytest.raises(CheckpointError, match="plain names"):
            FDUNetModel.from_pretrained(sharded[1])

    @pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": 3}', "{", '{"weight_map": {}, "metadata": {}}'])
    def test_damaged_index(self, sharded, content):
        (sharded[1] / INDEX).write_text(content)
        with pytest.raises(CheckpointError):
            FDUNetModel.from_pretrained(sharded[1])

    def test_random_damage_is_never_silent(self, saved):
        """Flip, cut or lengthen either file: a typed error, or exactly the undamaged model."""
        model, folder = saved
        chance = random.Random(0)
        originals = {path: path.read_bytes() for path in folder.iterdir()}
        refused = 0
        for _ in range(120):
            path = chance.choice(sorted(originals))
            damaged = bytearray(originals[path])
            kind = chance.choice(["flip", "flip", "cut", "lengthen"])
            if kind == "flip":
                # Half of the flips fall on the header, where they do most harm.
                damaged[chance.randrange(chance.choice([200, len(damaged)]))] ^= 1 << chance.randrange(8)
            elif kind == "cut":
                del damaged[chance.randrange(len(damaged)) :]
            else:
                damaged += b"\0" * 8
            # A new file, since the old one may be mapped into memory.
            path.unlink()
            path.write_bytes(damaged)
            try:
                loaded = FDUNetModel.from_pretrained(folder)
            except CheckpointError:
                refused += 1
            else:
                assert_same(loaded, model)
                assert public(loaded) == public(model)
            path.unlink()
            path.write_bytes(originals[path])
        assert refused > 100


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was run')",)


class TestPickles:
    @pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt", "pkl"])
    def test_only_pickles(self, saved, suffix):
        (saved[1] / WEIGHTS).unlink()
        (saved[1] / f"diffusion_pytorch_model.{suffix}").write_bytes(pickle.dumps(Payload()))
        with pytest.raises(CheckpointError, match=rf"\.{suffix}.*pickles are never opened"):
            FDUNetModel.from_pretrained(saved[1])

    def test_pickle_under_the_name_of_safetensors(self, saved):
        (saved[1] / WEIGHTS).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(CheckpointError):
            FDUNetModel.from_pretrained(saved[1])

    def test_pickle_beside_safetensors_is_left_alone(self, saved):
        (saved[1] / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
        assert_same(FDUNetModel.from_pretrained(saved[1]), saved[0])

    @pytest.mark.parametrize(
        "option", [{"use_safetensors": False}, {"use_flashpack": True}, {"ignore_mismatched_sizes": True}]
    )
    def test_unsafe_options(self, saved, option):
        with pytest.raises(InputError, match=next(iter(option))):
            FDUNetModel.from_pretrained(saved[1], **option)

    def test_saving_pickles(self, tmp_path):
        with pytest.raises(InputError, match="safe_serialization"):
            tiny().save_pretrained(tmp_path / "model", safe_serialization=False)
        assert not (tmp_path / "model").exists()


class TestSaving:
    def test_onto_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(FileError):
            tiny().save_pretrained(tmp_path / "file")

    def test_a_checkpoint_that_cannot_be_sealed_is_not_called_unwritable(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ModelMixin, "save_pretrained", lambda self, folder, **options: None)
        with pytest.raises(CheckpointError, match=f"{WEIGHTS}.*no such file"):
            tiny().save_pretrained(tmp_path / "model")

    def test_other_processes_write_nothing(self, tmp_path):
        tiny().save_pretrained(tmp_path / "model", is_main_process=False)
        assert not (tmp_path / "model").exists()

    def test_same_model_gives_same_bytes(self, tmp_path):
        for name in ("a", "b"):
            tiny().save_pretrained(tmp_path / name)
        assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()

    def test_upload_holds_the_sealed_files(self, tmp_path, monkeypatch):
        pushed = {}
        monkeypatch.setattr(FDUNetModel, "push_to_hub", lambda self, repo, **options: pushed.update({repo: options}))
        tiny().save_pretrained(tmp_path / "model", push_to_hub=True, repo_id="user/model", variant="bf16")
        assert pushed == {"user/model": {"variant": "bf16"}}
