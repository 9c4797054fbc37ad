import torch

from lia_model.networks.build import build_generator
from lia_model.ops.warp import flow_warp


def test_a_calm_start_warps_little_and_shows_the_source(network, monkeypatch):
    flows = []

    def recorded(flow, *rest):
        flows.append(flow)
        return flow_warp(flow, *rest)

    monkeypatch.setattr("lia_model.networks.synthesis.flow_warp", recorded)
    image = torch.rand(1, 3, 32, 32)

    def raw_flows(scale, mask_bias):
        flows.clear()
        generator = build_generator(network, seed=0)
        generator.synthesis.weaken_flow(scale, mask_bias)
        generator(image)
        return torch.cat([flow.flatten(2) for flow in flows], dim=2)[0]

    wild, same, calm = raw_flows(1.0, 0.0), raw_flows(1.0, 0.0), raw_flows(0.01, 2.0)
    assert torch.equal(wild, same)
    assert calm[:2].abs().max() < 0.05 * wild[:2].abs().max()
    assert calm[2].min() > 1
