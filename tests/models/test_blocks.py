"""The parts both networks are built of: resampling, attention, and the refusal of impossible sizes."""

import math

import pytest
import torch
import torch.nn.functional as F

from eeg2fmri.errors import InputError
from eeg2fmri.models.blocks import (
    Attention,
    Conv3d,
    ConvBlock3D,
    ResnetBlock3D,
    check_choice,
    check_integer,
    check_integers,
    check_tensor,
    downsample,
    upsample,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_downsample_is_average_pooling():
    volume = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(downsample(volume), F.avg_pool3d(volume, 2))


def test_downsample_undoes_upsample():
    volume = torch.randn(2, 3, 2, 3, 4)
    torch.testing.assert_close(downsample(upsample(volume)), volume)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_resampling_keeps_dtype_and_memory_format(dtype):
    volume = torch.randn(2, 8, 4, 4, 4).to(dtype).to(memory_format=torch.channels_last_3d)
    for resampled in (downsample(volume), upsample(volume)):
        assert resampled.dtype == dtype
        assert resampled.is_contiguous(memory_format=torch.channels_last_3d)


def test_conv_block_normalises_after_the_convolution():
    block = ConvBlock3D(2, 8, norm_num_groups=4)
    volume = torch.randn(2, 2, 4, 4, 4)
    expected = F.silu(F.group_norm(F.conv3d(volume, block.conv.weight, block.conv.bias, padding=1), 4))
    torch.testing.assert_close(block(volume), expected)


def test_resnet_block_carries_the_level_of_its_input():
    """The ConvBlocks do not see a constant factor of a bias-free input; the skip path does."""
    block = ResnetBlock3D(8, 8, norm_num_groups=4)
    torch.nn.init.zeros_(block.block_1.conv.bias)
    volume = torch.randn(1, 8, 4, 4, 4, dtype=torch.float64)
    block = block.double()
    torch.testing.assert_close(block(3 * volume) - block(volume), 2 * volume, atol=1e-3, rtol=1e-3)


def test_time_is_added_to_every_position_alike():
    block = ResnetBlock3D(4, 8, norm_num_groups=4, time_embedding_dim=6)
    volume, embedding = torch.randn(2, 4, 4, 4, 4), torch.randn(2, 6)
    shift = block.time_projection(F.silu(embedding))[:, :, None, None, None]
    expected = block.skip(volume) + block.block_2(block.block_1(volume) + shift)
    torch.testing.assert_close(block(volume, embedding), expected)


@pytest.mark.parametrize("head_dim", [None, 4, 1])
def test_attention_agrees_with_its_formula_and_its_map(head_dim):
    attention = Attention(8, 6, head_dim).double()
    queries, tokens = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 7, 6, dtype=torch.float64)
    fast, nothing = attention(queries, tokens)
    slow, weights = attention(queries, tokens, return_attention=True)
    width = head_dim or 8
    assert nothing is None
    assert weights.shape == (2, 8 // width, 5, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 8 // width, 5, dtype=torch.float64))
    torch.testing.assert_close(fast, slow)

    heads = []
    for head in range(8 // width):
        rows = slice(head * width, (head + 1) * width)
        query, key = queries @ attention.to_q.weight[rows].T, tokens @ attention.to_k.weight[rows].T
        map_of_head = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(width), -1)
        torch.testing.assert_close(weights[:, head], map_of_head)
        heads.append(map_of_head @ (tokens @ attention.to_v.weight[rows].T))
    torch.testing.assert_close(fast, attention.to_out(torch.cat(heads, -1)))


def test_attention_processor_can_be_replaced():
    class Silent:
        def __call__(self, attn, hidden_states, encoder_hidden_states):
            return torch.zeros_like(hidden_states)

    attention = Attention(8, 6)
    attention.set_processor(Silent())
    attended, _ = attention(torch.randn(1, 5, 8), torch.randn(1, 7, 6))
    assert not attended.any()


@pytest.mark.parametrize("value", [0, -1, 11, 2.0, math.nan, math.inf, "3", None, True, [3], 10**30])
def test_integers_out_of_range_or_of_another_type_are_refused(value):
    with pytest.raises(InputError, match=r"size.*from 1 to 10"):
        check_integer("size", value, 1, 10)
    with pytest.raises(InputError, match=r"sizes\[1\]"):
        check_integers("sizes", [3, value], 1, 10, (2, 2))


@pytest.mark.parametrize("values", [None, 3, "33", [], [1], [1, 1, 1, 1], {1: 1, 2: 2}])
def test_lists_of_another_length_or_type_are_refused(values):
    with pytest.raises(InputError, match="2 to 3 integers"):
        check_integers("sizes", values, 1, 10, (2, 3))


@pytest.mark.parametrize("value", ["three", "", None, 1, ["one"]])
def test_unknown_choices_are_refused(value):
    with pytest.raises(InputError, match="one of"):
        check_choice("mode", value, ("one", "two"))


@pytest.mark.parametrize(
    ("tensor", "found", "expected"),
    [
        ([[1.0]], "list", "torch tensor"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64", "float32"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64", "float32"),
        (torch.zeros(2), "1 axes", "2 axes"),
        (torch.zeros(2, 4), "4 along axis 'channel'", "3"),
    ],
)
def test_wrong_tensors_are_refused_with_axis_found_and_expected(tensor, found, expected):
    with pytest.raises(InputError) as caught:
        check_tensor("sample", tensor, {"batch": None, "channel": 3})
    assert caught.value.subject == "sample"
    assert found in caught.value.found
    assert expected in caught.value.expected


def test_a_convolution_over_two_slices_never_reads_unwritten_memory():
    # torch's own padded convolution fails here: its bfloat16 weight gradient is then infinite in most trials.
    conv = Conv3d(8, 8)
    for _ in range(6):
        poison = [torch.full((size,), float("inf")) for size in (64, 1024, 16384, 262144) for _ in range(6)]
        del poison
        sample = torch.randn(4, 8, 2, 4, 4)
        with torch.autocast("cpu", torch.bfloat16):
            output = conv(sample)
        (gradient,) = torch.autograd.grad(output.float().sum(), conv.weight)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 4, 4), (2, 2, 2), (5, 2, 7), (4, 4, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_by_itself_changes_nothing(shape, stride):
    conv = Conv3d(3, 5, stride=stride).double()
    sample = torch.randn(2, 3, *shape, dtype=torch.float64)
    expected = torch.nn.functional.conv3d(sample, conv.weight, conv.bias, stride, padding=1)
    torch.testing.assert_close(conv(sample), expected)
