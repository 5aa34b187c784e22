"""Noisy activations as modules: noise while training, the mean over the noise in eval mode.

Owns the learned p, the draw, and the scale c: a buffer, which a scheduler moves and a checkpoint keeps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .functions import HardFunction, output_noise, output_noise_mean
from .input_noise import input_noise, input_noise_mean, learned_input_noise, learned_input_noise_mean


class NoisyActivation(nn.Module):
    """What every noisy activation shares: the hard function, the scale c, and one p a unit.

    Parameters
    ----------
    function : `HARD_SIGMOID` or `HARD_TANH`
    features : number of units along axis `dim`
    dim : axis of the units; 1 for images (N, C, H, W), -1 for sequences (N, T, F)
    c : scale of the noise
    learned : whether there is a p, uniform in [-1, 1] at the start
    """

    def __init__(
        self, function: HardFunction, features: int, *, dim: int = 1, c: float, learned: bool = True
    ) -> None:
        super().__init__()
        self.function, self.features, self.dim = function, features, dim
        self.register_buffer("c", torch.tensor(float(c)))
        self.c: Tensor
        self.p = nn.Parameter(torch.empty(features).uniform_(-1, 1)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Draw while training, compute the mean in eval mode; any shape (..., C), returned in the dtype of `x`."""
        if not self.training:
            return self.expectation(x)
        # The noise is a small difference of near numbers: bfloat16 would round it away.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.sample(wide).to(x.dtype)

    def sample(self, x: Tensor) -> Tensor:
        """Draw once for `x` of any shape."""
        raise NotImplementedError

    def expectation(self, x: Tensor) -> Tensor:
        """Compute the mean over all draws for `x` of any shape, without a random number."""
        raise NotImplementedError

    def _p(self, x: Tensor) -> Tensor:
        """Shape p so that it broadcasts along `dim` of `x`, in the dtype of `x`."""
        assert self.p is not None
        axes_after = x.ndim - 1 - self.dim % x.ndim
        return self.p.to(x.dtype).reshape(-1, *(1,) * axes_after)

    def extra_repr(self) -> str:
        """Show the function, the units and c."""
        return f"{self.function.name}, {self.features}, dim={self.dim}, c={float(self.c):g}"


class OutputNoise(NoisyActivation):
    """NAN and NAH: noise on the output, only where the unit saturates.

    Parameters
    ----------
    alpha : slope of the saturated part; see `output_noise`
    half_normal : draw |xi| (NAH) instead of xi (NAN)

    References
    ----------
    Gulcehre et al. 2016, section 4.2.
    """

    def __init__(
        self,
        function: HardFunction,
        features: int,
        *,
        dim: int = 1,
        c: float,
        alpha: float,
        half_normal: bool,
    ) -> None:
        super().__init__(function, features, dim=dim, c=c)
        self.alpha, self.half_normal = alpha, half_normal

    def sample(self, x: Tensor) -> Tensor:
        """Draw once for `x` of any shape."""
        noise = torch.randn_like(x)
        if self.half_normal:
            noise = noise.abs()
        return output_noise(x, noise, function=self.function, p=self._p(x), c=self.c, alpha=self.alpha)

    def expectation(self, x: Tensor) -> Tensor:
        """Compute the mean over all draws for `x` of any shape."""
        return output_noise_mean(
            x, function=self.function, p=self._p(x), c=self.c.to(x.dtype), alpha=self.alpha,
            half_normal=self.half_normal,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show alpha and the kind of noise too."""
        kind = "half-normal" if self.half_normal else "normal"
        return f"{super().extra_repr()}, alpha={self.alpha:g}, {kind}"


class InputNoise(NoisyActivation):
    """NANI and NANIS: Gaussian noise of fixed size on the input; c is its standard deviation. There is no p.

    Parameters
    ----------
    saturated_only : add noise only where the unit saturates (NANIS)

    References
    ----------
    Gulcehre et al. 2016, section 5.
    """

    def __init__(
        self, function: HardFunction, features: int, *, dim: int = 1, c: float, saturated_only: bool
    ) -> None:
        super().__init__(function, features, dim=dim, c=c, learned=False)
        self.saturated_only = saturated_only

    def sample(self, x: Tensor) -> Tensor:
        """Draw once for `x` of any shape."""
        return input_noise(
            x, torch.randn_like(x), function=self.function, sigma=self.c, saturated_only=self.saturated_only
        )

    def expectation(self, x: Tensor) -> Tensor:
        """Compute the mean over all draws for `x` of any shape."""
        return input_noise_mean(
            x, function=self.function, sigma=self.c.to(x.dtype), saturated_only=self.saturated_only
        )

    def extra_repr(self) -> str:
        """Show where the noise is."""
        return f"{super().extra_repr()}, {'where saturated' if self.saturated_only else 'everywhere'}"


class LearnedInputNoise(NoisyActivation):
    """NANIL: noise on the input whose size is learned and grows with saturation.

    Parameters
    ----------
    points : of the sum that stands for the mean in eval mode; see `learned_input_noise_mean`

    References
    ----------
    Gulcehre et al. 2016, section 5, as in the authors' NTanhPInp (nunits.py).
    """

    def __init__(self, function: HardFunction, features: int, *, dim: int = 1, c: float, points: int = 16) -> None:
        super().__init__(function, features, dim=dim, c=c)
        self.points = points

    def sample(self, x: Tensor) -> Tensor:
        """Draw once for `x` of any shape."""
        return learned_input_noise(x, torch.randn_like(x), function=self.function, p=self._p(x), c=self.c)

    def expectation(self, x: Tensor) -> Tensor:
        """Compute the mean over all draws for `x` of any shape."""
        return learned_input_noise_mean(
            x, function=self.function, p=self._p(x), c=self.c.to(x.dtype), points=self.points
        )
