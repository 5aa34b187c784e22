"""Our batched Adam against torch's."""

from __future__ import annotations

import torch
from steadyframe.models.ensemble import adam, fastest


def test_each_copy_gets_torchs_adam_with_its_own_rate_and_its_own_clipping() -> None:
    torch.manual_seed(0)
    rates, clip = (0.01, 0.1), 1.0
    weights = [torch.randn(2, 3, 4), torch.randn(2, 1, 5)]
    twins = [[torch.nn.Parameter(weight[copy].clone()) for weight in weights] for copy in range(2)]
    optimizers = [torch.optim.Adam(twin, lr=lr) for twin, lr in zip(twins, rates, strict=True)]
    state = ([torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights])
    lr = torch.tensor(rates)[:, None, None]
    for step in range(1, 6):
        # The second copy's gradients are a thousand times the first's: only they are clipped.
        gradients = [torch.randn_like(w) * torch.tensor([0.01, 10.0])[:, None, None] for w in weights]
        adam(weights, gradients, state, lr, torch.tensor(float(step)), clip)
        for copy, optimizer in enumerate(optimizers):
            for parameter, gradient in zip(twins[copy], gradients, strict=True):
                parameter.grad = gradient[copy].clone()
            torch.nn.utils.clip_grad_norm_(twins[copy], clip)
            optimizer.step()
    for copy, twin in enumerate(twins):
        for ours, theirs in zip(weights, twin, strict=True):
            torch.testing.assert_close(ours[copy], theirs.data)


def test_on_a_cpu_the_fastest_way_is_the_function_itself() -> None:
    def update() -> None: ...

    assert fastest(update, [torch.zeros(1)]) is update
