"""What "SSIM" means where it was published. On one pair of volumes the definitions differ by more than models do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SSIMDefinition:
    """One way to average equation 25.

    Args:
        source (`str`): who computes it so.
        window (`str`): `gaussian`, `uniform`, or `whole` for one window that is the volume (or the mask).
        dimensions (`int`): 2 for windows within axial slices, averaged over slices; 3 for windows in space.
        size (`int`): voxels of the window along each axis.
        sigma (`float`): of a Gaussian window, in voxels.
        sample_covariance (`bool`): variances divided by n - 1, not by n.
        reflected_border (`bool`): windows at every voxel, the volume being mirrored at its border without repeating
            it; otherwise only windows that lie inside the volume.
        slice_step (`int`): every how manieth slice, from the first, `D // slice_step` of them.
        data_range (`float`): L of the constants; `None` for the greater maximum of the two slices.
    """

    source: str
    window: str = "gaussian"
    dimensions: int = 3
    size: int = 11
    sigma: float | None = 1.5
    sample_covariance: bool = False
    reflected_border: bool = False
    slice_step: int = 1
    data_range: float | None = 1.0

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether volumes `[..., D, H, W]` hold a window."""
        return self.window == "whole" or min(shape[-self.dimensions :]) >= self.size


SSIM_DEFINITIONS: dict[str, SSIMDefinition] = {
    "ssim_2d": SSIMDefinition(
        "Wang et al. 2004, slice by slice; E2fNet (arXiv 2502.08025: torchmetrics 1.4, slices as channels)",
        dimensions=2,
    ),
    "ssim_2d_reflected": SSIMDefinition(
        "torchmetrics 1.9 with slices as channels; its pull request 2721 counts windows at the border",
        dimensions=2,
        reflected_border=True,
    ),
    "ssim_2d_tag": SSIMDefinition(
        "TAG (arXiv 2203.03481: tf.image.ssim of every third slice, after adding 1e-9 to both volumes)",
        dimensions=2,
        slice_step=3,
        data_range=None,
    ),
    "ssim_3d": SSIMDefinition("scikit-image with gaussian_weights=True, sigma=1.5, use_sample_covariance=False"),
    "ssim_3d_reflected": SSIMDefinition("torchmetrics 1.9 on volumes [N, 1, D, H, W]", reflected_border=True),
    "ssim_3d_uniform": SSIMDefinition(
        "scikit-image by default", window="uniform", size=7, sigma=None, sample_covariance=True
    ),
    "ssim_whole": SSIMDefinition("equation 25 as the paper words it: means and variances of the images", "whole"),
}
