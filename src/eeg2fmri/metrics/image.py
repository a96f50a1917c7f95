"""Likeness of volumes: SSIM, PSNR and RMSE (equations 19 to 26 of the paper), every definition under its name.

None of them can tell whether the EEG was used: a training-mean volume attains the published values. They belong
beside the scores of [`~metrics.temporal`]. Give volumes without the slices that only pad them for the network: with
30 real slices of 32, padding lifts a slice-wise SSIM s to (30 s + 2) / 32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .ssim_definitions import SSIM_DEFINITIONS, SSIMDefinition

K1, K2 = 0.01, 0.03  # Wang et al. 2004; C1 = (K1 L)^2 and C2 = (K2 L)^2 for data range L
VOLUMES_AT_ONCE = 4  # bounds the memory of the window statistics


def ssim(
    generated: Any,
    measured: Any,
    definition: str = "ssim_3d",
    mask: Any = None,
    data_range: float | None = None,
) -> np.ndarray:
    r"""Structural similarity (equation 25),
    \( \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)} \),
    averaged over the positions of a window.

    Equation 25 follows from 21 to 24 with C3 = C2 / 2 and the contrast term
    \( (2 \sigma_x \sigma_y + C_2) / (\sigma_x^2 + \sigma_y^2 + C_2) \). The paper does not name its window.

    Args:
        generated (array or tensor of shape `[N, D, H, W]`): on any device, where it is computed, in float64.
        measured (array or tensor of shape `[N, D, H, W]`).
        definition (`str`): a name in `SSIM_DEFINITIONS`.
        mask (boolean array of shape `[D, H, W]`): windows whose centre it holds are counted, uncut.
        data_range (`float`): L; default is the definition's, 1 for volumes in [0, 1].

    Returns:
        `np.ndarray` of shape `[N]`; 1 for equal volumes, constant ones too.

    Raises:
        InputError: for an unknown name, other shapes, NaN, a volume smaller than the window, an empty mask, a data
            range that is not positive.
    """
    chosen = _definition(definition)
    x, y, inside = _checked(generated, measured, mask)
    scale = chosen.data_range if data_range is None else _positive(data_range)
    step = chosen.slice_step
    if step > 1:
        count = x.shape[1] // step
        x, y, inside = x[:, ::step][:, :count], y[:, ::step][:, :count], inside[::step][:count]
    if chosen.window == "whole":
        weights = inside.to(x) / inside.sum()
        statistics = torch.stack([(z * weights).sum((1, 2, 3)) for z in (x, y, x * x, y * y, x * y)])
        return _similarity(statistics, scale, 1.0).cpu().numpy()
    averages = _window_averages(chosen, x)
    centres = _centres(chosen, inside)
    results = []
    for start in range(0, len(x), VOLUMES_AT_ONCE):
        part = (x[start : start + VOLUMES_AT_ONCE], y[start : start + VOLUMES_AT_ONCE])
        similarity = _map(chosen, *part, averages, scale)
        results.append(similarity[:, centres].mean(1))
    return torch.cat(results).cpu().numpy()


def ssim_of_tensors(
    generated: torch.Tensor, measured: torch.Tensor, definition: str, data_range: float | torch.Tensor
) -> torch.Tensor:
    """[`ssim`] in the tensors' own precision and with a gradient, for losses.

    Args:
        generated, measured (`torch.Tensor` of shape `[N, D, H, W]`): not checked.
        definition (`str`): a name in `SSIM_DEFINITIONS`, of one that takes every slice and slides its window.
        data_range (`float` or `torch.Tensor` of shape `[N, 1, 1, 1]`): L.

    Returns:
        `torch.Tensor` of shape `[N]`.

    Raises:
        InputError: for an unknown name, or volumes smaller than the window.
    """
    chosen = _definition(definition)
    return _map(chosen, generated, measured, _window_averages(chosen, generated), data_range).flatten(1).mean(1)


def psnr(generated: Any, measured: Any, mask: Any = None, data_range: float = 1.0) -> np.ndarray:
    r"""Peak signal-to-noise ratio, \( 10 \log_{10}(L^2 / MSE) \) in dB (equations 19 and 20), per volume.

    The paper's peak \( 2^n - 1 \) is that of 8-bit images; on volumes in [0, 1] the peak L is 1. The mean squared
    error is taken over the volume (the paper prints that of one slice). Averages of it should be of these values, not
    of the error.

    Returns:
        `np.ndarray` of shape `[N]`; infinite for equal volumes.

    Raises:
        InputError: for other shapes, NaN, an empty mask, a data range that is not positive.
    """
    peak = _positive(data_range)
    with np.errstate(divide="ignore"):
        return 20 * np.log10(peak / rmse(generated, measured, mask))


def rmse(generated: Any, measured: Any, mask: Any = None) -> np.ndarray:
    r"""Root mean square error over the voxels of a volume, \( \sqrt{\frac1n \sum_i (x_i - \hat x_i)^2} \)
    (equation 26).

    Returns:
        `np.ndarray` of shape `[N]`, in the units of the volumes.

    Raises:
        InputError: for other shapes, NaN, an empty mask.
    """
    x, y, inside = _checked(generated, measured, mask)
    return ((x - y)[:, inside] ** 2).mean(1).sqrt().cpu().numpy()


def minmax(volumes: Any) -> np.ndarray:
    """Every volume scaled to [0, 1] by its own minimum and maximum (3.5.1); a constant one becomes zero.

    Args:
        volumes (array or tensor of shape `[N, D, H, W]`).

    Raises:
        InputError: for another number of axes, NaN.
    """
    values = _volumes(volumes, "volumes")
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    width = torch.where(high > low, high - low, torch.ones_like(high))
    return ((values - low) / width).cpu().numpy()


def _window_averages(definition: SSIMDefinition, volumes: torch.Tensor) -> list[torch.Tensor]:
    """For each axis that the window spans, the matrix that averages along it; a window is the product of these."""
    sizes = volumes.shape[-definition.dimensions :]
    if not definition.fits(sizes):
        raise InputError(
            "generated",
            found=f"volumes of {list(volumes.shape[1:])} for {definition.dimensions}-D windows",
            expected=f"at least {definition.size} voxels along each axis",
            remedy="Use a definition with smaller windows, or in two dimensions.",
        )
    return [_average(definition, size).to(volumes) for size in sizes]


def _average(definition: SSIMDefinition, size: int) -> torch.Tensor:
    """Matrix `[size, position]`; with a reflected border positions are as many as voxels."""
    radius = definition.size // 2
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(taps**2) / (2 * definition.sigma**2)) if definition.sigma else torch.ones_like(taps)
    weights = weights / weights.sum()
    first, last = (0, size) if definition.reflected_border else (radius, size - radius)
    matrix = torch.zeros(size, last - first, dtype=torch.float64)
    for position in range(first, last):
        voxels = (torch.arange(position - radius, position + radius + 1)).abs()
        voxels = (size - 1) - ((size - 1) - voxels).abs()
        matrix[:, position - first].index_add_(0, voxels, weights)
    return matrix


def _map(
    definition: SSIMDefinition,
    x: torch.Tensor,
    y: torch.Tensor,
    averages: list[torch.Tensor],
    scale: float | torch.Tensor | None,
) -> torch.Tensor:
    """SSIM at every position `[N, ...]`."""
    if scale is None:  # TAG: of each slice the greater maximum
        x, y = x + 1e-9, y + 1e-9
        scale = torch.maximum(x.amax((2, 3), keepdim=True), y.amax((2, 3), keepdim=True))
    statistics = torch.stack([x, y, x * x, y * y, x * y])
    for axis, average in zip(range(-len(averages), 0), averages, strict=True):
        statistics = (statistics.movedim(axis, -1) @ average).movedim(-1, axis)
    count = definition.size**definition.dimensions
    return _similarity(statistics, scale, count / (count - 1) if definition.sample_covariance else 1.0)


def _similarity(statistics: torch.Tensor, scale: Any, correction: float) -> torch.Tensor:
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = statistics
    c1, c2 = (K1 * scale) ** 2, (K2 * scale) ** 2
    variances = correction * (mean_xx - mean_x**2 + mean_yy - mean_y**2)
    covariance = correction * (mean_xy - mean_x * mean_y)
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))


def _centres(definition: SSIMDefinition, inside: torch.Tensor) -> torch.Tensor:
    """The mask at the positions of the window."""
    if not definition.reflected_border:
        radius = definition.size // 2
        border = slice(radius, -radius)
        inside = inside[:, border, border] if definition.dimensions == 2 else inside[border, border, border]
    return _not_empty(inside, "windows with their centre")


def _checked(generated: Any, measured: Any, mask: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y = _volumes(generated, "generated"), _volumes(measured, "measured")
    if x.shape != y.shape:
        raise InputError(
            "generated",
            found=f"shape {list(x.shape)}",
            expected=f"{list(y.shape)}, that of measured",
            remedy="Compare the same volumes in the same space.",
        )
    shape = x.shape[1:]
    inside = torch.ones(shape, dtype=torch.bool) if mask is None else torch.as_tensor(mask)
    if inside.shape != shape or inside.dtype != torch.bool:
        raise InputError(
            "mask",
            found=f"{str(inside.dtype).removeprefix('torch.')} of shape {list(inside.shape)}",
            expected=f"bool of shape {list(shape)}",
            remedy="Give one mask for all volumes.",
        )
    return x, y.to(x.device), _not_empty(inside, "voxels").to(x.device)


def _volumes(values: Any, name: str) -> torch.Tensor:
    tensor = torch.as_tensor(values).detach()
    # Apple's device has no float64.
    tensor = tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)
    if tensor.ndim != 4 or tensor.numel() == 0 or not torch.isfinite(tensor).all():
        finite = "" if torch.isfinite(tensor).all() else ", with NaN or infinite values"
        raise InputError(
            name,
            found=f"shape {list(tensor.shape)}{finite}",
            expected="finite volumes [N, D, H, W]",
            remedy="Leave out the channel axis, and find out where values that are not finite come from.",
        )
    return tensor


def _not_empty(inside: torch.Tensor, what: str) -> torch.Tensor:
    if not inside.any():
        raise InputError("mask", found=f"no {what} in it", expected="at least one", remedy="Give a larger mask.")
    return inside


def _positive(data_range: float) -> float:
    if not 0 < data_range < float("inf"):
        raise InputError("data_range", found=str(data_range), expected="a number above 0", remedy="Give 1 for [0, 1].")
    return data_range


def _definition(name: str) -> SSIMDefinition:
    if name not in SSIM_DEFINITIONS:
        raise InputError(
            "definition", found=name, expected=f"one of {', '.join(SSIM_DEFINITIONS)}", remedy="Choose one of these."
        )
    return SSIM_DEFINITIONS[name]
