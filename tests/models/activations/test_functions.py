"""Noisy activations: the paper's claims, means against Monte Carlo, gradients, precision."""

from __future__ import annotations

import math

import pytest
import torch
from steadyframe.models.activations import (
    KINDS,
    LearnedInputNoise,
    Noise,
    NoisyActivation,
    OutputNoise,
    sigmoid,
    tanh,
)
from steadyframe.models.activations.functions import HARD_SIGMOID, HARD_TANH, output_noise, output_noise_scale
from steadyframe.models.activations.input_noise import learned_input_noise_mean, learned_shift
from torch import Tensor, nn

FUNCTIONS = {"sigmoid": sigmoid, "tanh": tanh}
LINEAR = {"sigmoid": 2.0, "tanh": 1.0}
RARE = 5e-5  # what events too rare for the draws may add to a mean


def _make(function: str, noise: str | Noise, features: int = 4) -> NoisyActivation:
    torch.manual_seed(3)
    made = FUNCTIONS[function](noise, features, dim=-1).double()
    assert isinstance(made, NoisyActivation)
    return made


def _points(features: int = 4) -> Tensor:
    """(25, features) from deep in one saturated zone to deep in the other, the borders among them."""
    return torch.linspace(-6, 6, 25, dtype=torch.float64)[:, None].repeat(1, features)


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_eval_is_the_mean_of_training(function: str, noise: str, scale: float) -> None:
    made, x, draws = _make(function, Noise(kind=noise, c=scale)), _points(), 10_000
    with torch.no_grad():
        samples = made.train()(x.expand(draws, *x.shape))
        mean = made.eval()(x)
    assert samples.std(0).max() > 0.01  # there is noise to average
    error = samples.std(0) / math.sqrt(draws)
    # NANIL's mean is a sum that is off by up to 0.002 c; see the test of its error below.
    allowed = 4 * error + RARE + (0.002 * scale if noise == "nanil" else 0)
    assert ((samples.mean(0) - mean).abs() <= allowed).all()


@pytest.mark.parametrize("noise", ["nan", "nah"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_linear_zone_is_the_line_to_the_last_bit(function: str, noise: str) -> None:
    made = _make(function, Noise(kind=noise, c=30.0)).float()
    border = LINEAR[function]
    x = torch.linspace(-border, border, 1001).unsqueeze(-1).repeat(1, 4).requires_grad_()
    for mode in (True, False):
        y = made.train(mode)(x)
        assert torch.equal(y, made.function.line(x))
        gradient_x, gradient_p = torch.autograd.grad(y.sum(), [x, made.p], allow_unused=True)
        assert torch.equal(gradient_x, torch.full_like(x, made.function.slope))
        assert gradient_p is None or not gradient_p.any()


def test_scale_is_at_most_a_quarter_of_c_and_reaches_it() -> None:
    v, p = torch.linspace(-1e3, 1e3, 501), torch.tensor([-3.0, 0.01, 1.0, 50.0])[:, None]
    scale = output_noise_scale(v, p, 0.5)
    assert scale.max() <= 0.125
    assert torch.isclose(scale.max(), torch.tensor(0.125))
    assert output_noise_scale(torch.zeros(3), torch.ones(3), 30.0).eq(0).all()


@pytest.mark.parametrize("function", [HARD_SIGMOID, HARD_TANH])
def test_gradients_in_the_saturated_zone_have_the_three_paths_of_the_paper(function) -> None:
    """d phi / dx = (1 - alpha) u' + d(x) sigma'(x) eps, written out by hand."""
    x = torch.tensor([-5.0, -3.0, 3.0, 5.0], dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.7, -0.4, 1.3, 0.2], dtype=torch.float64, requires_grad=True)
    noise, c, alpha = torch.tensor([0.3, -1.1, 0.8, 2.0], dtype=torch.float64), 0.5, 1.15
    y = output_noise(x, noise, function=function, p=p, c=c, alpha=alpha)
    by_x, by_p = torch.autograd.grad(y.sum(), [x, p])
    with torch.no_grad():
        v = function(x) - function.line(x)
        gate = torch.sigmoid(p * v)
        steep = 2 * c * (gate - 0.5) * gate * (1 - gate)  # d sigma / d(p v)
        expected_x = (1 - alpha) * function.slope + torch.sign(x) * steep * p * -function.slope * noise
        expected_p = torch.sign(x) * steep * v * noise
    torch.testing.assert_close(by_x, expected_x)
    torch.testing.assert_close(by_p, expected_p)


@pytest.mark.parametrize("noise", ["nani", "nanis", "nanil"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_noise_on_the_input_gives_gradients_where_the_hard_function_has_none(function: str, noise: str) -> None:
    made = _make(function, Noise(kind=noise, c=1.5)).train()
    x = torch.full((2000, 4), 1.2 * LINEAR[function], dtype=torch.float64, requires_grad=True)
    (hard,) = torch.autograd.grad(made.function(x).sum(), x)
    assert not hard.any()
    (gradient,) = torch.autograd.grad(made(x).sum(), x)
    some = (gradient != 0).double().mean()
    assert 0.05 < some < 0.95


@pytest.mark.parametrize(("alpha", "outwards"), [(0.9, False), (1.0, False), (1.1, True)])
def test_half_normal_noise_has_the_papers_direction(alpha: float, outwards: bool) -> None:
    """d(x) = -sgn(x) sgn(1 - alpha); at alpha = 1 as in the authors' code."""
    made = OutputNoise(HARD_TANH, 1, dim=-1, c=2.0, alpha=alpha, half_normal=True)
    made.p.data.fill_(2.0)
    x = torch.tensor([[-4.0], [4.0]])
    bare = made.function.line(x) + alpha * (made.function(x) - made.function.line(x))
    push = (made.train()(x.expand(500, 2, 1)) - bare) * torch.sign(x)
    assert (push >= 0).all() if outwards else (push <= 0).all()
    assert push.abs().mean() > 0.05


def test_nan_in_eval_is_not_the_plain_hard_function() -> None:
    made = _make("tanh", "nan").eval()
    assert torch.allclose(made(torch.full((1, 4), 3.0).double()), torch.tensor(1.15 * 1 - 0.15 * 3).double())


def test_eval_draws_nothing_and_training_draws_from_the_seed() -> None:
    x = _points()
    for noise in KINDS:
        made = _make("tanh", noise)
        state = torch.get_rng_state()
        assert torch.equal(made.eval()(x), made.eval()(x))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(1)
        first = made.train()(x)
        assert not torch.equal(first, made(x))
        torch.manual_seed(1)
        assert torch.equal(first, made(x))


def test_nanis_is_silent_inside_its_threshold() -> None:
    made = _make("tanh", Noise(kind="nanis", c=5.0)).train()
    x = torch.tensor([[-1.0, 0.0, 1.0, 1.0005]]).double().expand(100, 4)
    assert torch.equal(made(x), x.clamp(-1, 1))
    assert made(torch.full((100, 4), 1.002).double()).std() > 0.1


@pytest.mark.parametrize("c", [0.25, 1.0])
def test_learned_input_noise_mean_is_as_near_as_it_says(c: float) -> None:
    x = torch.linspace(-4, 4, 161).double()
    for p in (-2.0, -0.5, 0.5, 1.0, 3.0):
        options = {"function": HARD_TANH, "p": torch.tensor(p), "c": c}
        far = learned_input_noise_mean(x, points=2000, **options)
        assert (learned_input_noise_mean(x, **options) - far).abs().max() < 0.002 * c
        assert (learned_input_noise_mean(x, points=4, **options) - far).abs().max() > 0.002 * c


def test_learned_shift_is_the_authors_and_safe_where_the_draw_is_zero() -> None:
    v = torch.tensor([0.0, -0.5, -1e6], requires_grad=True)
    p = torch.tensor(0.8, requires_grad=True)
    shift = learned_shift(v, torch.tensor([1.5, 0.0, -0.2]), p=p, c=0.25)
    assert torch.isclose(shift[0], torch.tensor(0.25 * math.log(2) * 1.5))
    assert shift[1] == 0
    assert torch.isclose(shift[2], torch.tensor(-0.25 * 0.8e6))  # far out: -c p |v|
    for gradient in torch.autograd.grad(shift.sum(), [v, p]):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bfloat16_autocast_and_channels_last(function: str, noise: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), FUNCTIONS[function](noise, 4)).to(memory_format=torch.channels_last)
    x = (6 * torch.randn(2, 3, 5, 6)).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        y = net.train()(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = net.eval()(x)
    with torch.no_grad():
        exact = net(x)
    assert (rounded - exact).abs().max() < 0.06


def test_p_lies_along_its_axis() -> None:
    image, sequence = tanh("nah", 3), tanh("nah", 3, dim=-1)
    sequence.p.data.copy_(image.p)
    x = 4 * torch.randn(2, 3, 5, 6)
    moved = sequence.eval()(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(image.eval()(x), moved)
    assert (image.p.abs() <= 1).all()


def test_mean_is_exact_far_out_and_for_vanishing_noise() -> None:
    x = torch.tensor([-1e6, -50.0, 50.0, 1e6])[:, None]
    for function, low in ((sigmoid, 0.0), (tanh, -1.0)):
        for noise in ("nani", "nanis"):
            ends = function(noise, 1, dim=-1).eval()(x).flatten()
            torch.testing.assert_close(ends, torch.tensor([low, low, 1.0, 1.0]), atol=2e-6, rtol=0)
    silent = tanh(Noise(kind="nani", c=0.0), 1, dim=-1).eval()
    near = torch.linspace(-2, 2, 101)[:, None]
    torch.testing.assert_close(silent(near), near.clamp(-1, 1), atol=1e-5, rtol=0)


def test_unknown_noise_and_needless_alpha_are_refused() -> None:
    with pytest.raises(ValueError, match="no noise 'nanx'"):
        sigmoid("nanx", 3)
    with pytest.raises(ValueError, match="no alpha"):
        Noise(kind="nani", alpha=1.1)
    assert isinstance(sigmoid(None, 3), nn.Sigmoid)
    assert isinstance(tanh(None, 3), nn.Tanh)
    assert isinstance(tanh("nanil", 3), LearnedInputNoise)


def test_a_checkpoint_keeps_p_and_c() -> None:
    first, second = tanh(Noise(kind="nah", c=7.0), 5), tanh("nah", 5)
    second.load_state_dict(first.state_dict())
    assert float(second.c) == 7.0
    assert torch.equal(first.p, second.p)
