"""Muon with AdamW as one optimizer: it learns, schedulers see every group, and its state comes back."""

import copy

import torch

from recipes.muon import MuonWithAdamW, StackedMuon, split_parameters


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(8, 16)
        self.inner = torch.nn.Linear(16, 16)
        self.lm_head = torch.nn.Linear(16, 8, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.lm_head(torch.relu(self.inner(self.embed_tokens(ids))))


def make() -> tuple[Network, MuonWithAdamW]:
    torch.manual_seed(0)
    network = Network()
    return network, MuonWithAdamW(*split_parameters(network), matrix_lr=0.02, lr=0.01)


def train(network: Network, optimizer: MuonWithAdamW, steps: int) -> list[float]:
    ids = torch.arange(8)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(ids), (ids + 3) % 8)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_only_inner_matrices_go_to_muon() -> None:
    network = Network()
    matrices, others = split_parameters(network)
    assert [id(p) for p in matrices] == [id(network.inner.weight)]
    assert len(others) == 3


def test_it_learns_a_permutation() -> None:
    losses = train(*make(), steps=60)
    assert losses[-1] < 0.1 < losses[0]


def test_a_scheduler_moves_the_rates_of_both() -> None:
    _, optimizer = make()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.01, 0.005]


def test_going_on_from_saved_state_gives_the_same_losses() -> None:
    network, optimizer = make()
    train(network, optimizer, 10)
    weights, state = copy.deepcopy(network.state_dict()), copy.deepcopy(optimizer.state_dict())
    straight = train(network, optimizer, 10)
    network, optimizer = make()
    network.load_state_dict(weights)
    optimizer.load_state_dict(state)
    assert train(network, optimizer, 10) == straight


def test_stacked_it_moves_every_matrix_as_torchs_own_muon_does() -> None:
    """Wide, tall and square ones, several of a shape; apart by no more than bfloat16 rounds."""
    shapes = [(16, 48), (48, 16), (16, 16), (16, 48), (16, 16)]
    weights = [torch.randn(shape, generator=torch.Generator().manual_seed(n)) for n, shape in enumerate(shapes)]
    moved = []
    for kind in (torch.optim.Muon, StackedMuon):
        parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
        optimizer = kind(parameters, lr=0.1, weight_decay=0.1)
        for step in range(4):
            for n, parameter in enumerate(parameters):
                parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + n))
            optimizer.step()
        moved.append(parameters)
    for torchs, ours, weight in zip(*moved, weights, strict=True):
        assert (ours - torchs).abs().max() < 0.02 * (torchs - weight).abs().max()
