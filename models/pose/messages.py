"""The spatial model's messages, made cheap for export: the large kernels factored, two ways.

Owns `FourierMessages` (exact, the transforms written as matrix products) and `LowRankMessages` (each kernel a sum of
a few column-times-row products). Both give what `SpatialModel.messages` gives, out of MatMul, Mul and Add alone,
which every engine has.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .spatial import SpatialModel


class FourierMessages(nn.Module):
    """Convolution as a product of spectra; forward and inverse transforms are matrix products.

    Exact to rounding. About 4 h w (h + w) multiplications a pair instead of h^2 w^2.

    References
    ----------
    Mathieu et al. 2014, "Fast Training of Convolutional Networks through FFTs", is what the paper itself used.
    """

    def __init__(self, model: SpatialModel) -> None:
        super().__init__()
        height, width = model.grid_hw
        kernels = model.positive(model.kernels.detach())
        spectrum = torch.fft.rfft2(kernels, s=(2 * height, 2 * width))
        rows, columns = 2 * height, width + 1
        self.joints = kernels.shape[0]
        # forward: x (h, w) -> columns (h, w + 1), real and imaginary side by side -> rows (2h, w + 1)
        wide = _angles(width, columns, 2 * width)
        tall = _angles(rows, height, 2 * height)
        self.register_buffer("to_columns", torch.cat((torch.cos(wide), -torch.sin(wide)), 1))  # (w, 2w + 2)
        self.register_buffer("tall_cos", torch.cos(tall))
        self.register_buffer("tall_sin", torch.sin(tall))
        self.register_buffer("real", spectrum.real.clone())  # (J, J, 2h, w + 1)
        self.register_buffer("imaginary", spectrum.imag.clone())
        # backward, for the part of the full result that lies on the map
        down = _angles(height, rows, 2 * height, first=height - 1)
        across = _angles(columns, width, 2 * width, first_column=width - 1)
        twice = torch.full((columns, 1), 2.0)
        twice[0] = twice[-1] = 1.0  # the first and last column have no mirror image
        scale = twice / (4 * height * width)
        back = torch.cat(
            (torch.cat((torch.cos(down), -torch.sin(down)), 1), torch.cat((torch.sin(down), torch.cos(down)), 1))
        )
        self.register_buffer("from_rows", back)  # (2h, 4h): real rows, then imaginary ones
        self.register_buffer("from_columns_cos", torch.cos(across) * scale)
        self.register_buffer("from_columns_sin", -torch.sin(across) * scale)
        self.register_buffer("biases", model.positive(model.biases.detach())[..., None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """Give (B, J, J, h, w) messages of (B, J, h, w) maps, A first."""
        count, height = self.real.shape[-1], maps.shape[-2]
        both = maps @ self.to_columns  # (B, J, h, 2w + 2)
        cos, sin = both[..., :count], both[..., count:]
        real = (self.tall_cos @ cos + self.tall_sin @ sin).unsqueeze(1)  # (B, 1, J, 2h, w + 1)
        imaginary = (self.tall_cos @ sin - self.tall_sin @ cos).unsqueeze(1)
        product = torch.cat(
            (real * self.real - imaginary * self.imaginary, real * self.imaginary + imaginary * self.real), -2
        )  # (B, J, J, 4h, w + 1)
        down = self.from_rows @ product  # (B, J, J, 2h, w + 1)
        moved = down[..., :height, :] @ self.from_columns_cos + down[..., height:, :] @ self.from_columns_sin
        return F.relu(moved) + self.biases


def _angles(rows: int, columns: int, period: int, *, first: int = 0, first_column: int = 0) -> Tensor:
    """Give 2 pi i j / period, (rows, columns), from some first indices on."""
    i, j = torch.arange(first, first + rows), torch.arange(first_column, first_column + columns)
    return (i[:, None] * j[None, :] % period).to(torch.float32) * (2 * math.pi / period)


class LowRankMessages(nn.Module):
    """Every kernel as a sum of `rank` products of a column and a row; two matrix products a pair.

    Parameters
    ----------
    model : whose kernels are factored, by singular value decomposition
    rank : products a kernel

    Notes
    -----
    `lost` is the largest share of a kernel's mass, over the pairs, that the factors get wrong.

    References
    ----------
    Separable approximation of kernels: Rigamonti et al. 2013. Here without retraining.
    """

    def __init__(self, model: SpatialModel, rank: int) -> None:
        super().__init__()
        height, width = model.grid_hw
        kernels = model.positive(model.kernels.detach()).double()
        left, values, right = torch.linalg.svd(kernels)
        values = values[..., :rank].sqrt()
        columns = left[..., :rank] * values[..., None, :]  # (A, v, 2h - 1, r)
        rows = right[..., :rank, :] * values[..., None]  # (A, v, r, 2w - 1)
        error = (columns @ rows - kernels).abs().sum((2, 3)) / kernels.sum((2, 3))
        self.lost = float(error.max())
        self.rank, self.joints, self.grid_hw = rank, kernels.shape[0], (height, width)
        self.register_buffer("columns", columns.permute(1, 0, 2, 3).float().contiguous())  # (v, A, 2h - 1, r)
        self.register_buffer("rows", rows.permute(1, 0, 2, 3).float().contiguous())  # (v, A, r, 2w - 1)
        # place of displacement out - in of a Toeplitz matrix among the factors
        step_y, step_x = torch.arange(height), torch.arange(width)
        self.register_buffer("down", step_y[:, None] - step_y[None, :] + height - 1)  # (out, in)
        self.register_buffer("across", step_x[None, :] - step_x[:, None] + width - 1)  # (in, out)
        self.register_buffer("biases", model.positive(model.biases.detach())[..., None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """Give (B, J, J, h, w) messages of (B, J, h, w) maps, A first."""
        height, width = self.grid_hw
        tall = self.columns[:, :, self.down]  # (v, A, out, in, r); constant, folded when a session is made
        tall = tall.permute(0, 1, 2, 4, 3).reshape(self.joints, -1, height)
        wide = self.rows[:, :, :, self.across]  # (v, A, r, in, out)
        wide = wide.reshape(self.joints, self.joints, self.rank * width, width)
        half = (tall @ maps).reshape(-1, self.joints, self.joints, height, self.rank * width)
        moved = half @ wide  # (B, v, A, h, w)
        return F.relu(moved.transpose(1, 2)) + self.biases
