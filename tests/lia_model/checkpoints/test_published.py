import argparse

import pytest
import torch

from lia_model.checkpoints.directory import load_generator, read_config
from lia_model.checkpoints.published import export_checkpoint, import_checkpoint, to_published
from lia_model.checkpoints.published_keys import (
    discriminator_keys,
    generator_keys,
    unused_generator_entries,
)
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import NetworkSettings


def network(size_px):
    return NetworkSettings.model_validate(
        {"size_px": size_px, "width": 0.03125, "latent_dim": 24, "num_directions": 5}
    )


@pytest.fixture(params=[128, 256, 512])
def checkpoint(request, tmp_path):
    """A published-format training checkpoint of random weights, and the generator it was made from."""
    settings = network(request.param)
    generator = build_generator(settings, seed=request.param)
    unused = {name: torch.randn_like(value) for name, value in unused_generator_entries(settings).items()}
    kernels = {
        f"convs.{block}.{part}.0.kernel": torch.rand(4, 4)
        for block in range(1, settings.size_px.bit_length() - 2)
        for part in ("conv2", "skip")
    }
    content = {
        "gen": to_published(generator, generator_keys(settings.size_px), unused),
        "dis": to_published(
            build_discriminator(settings, seed=1), discriminator_keys(settings.size_px), kernels
        ),
        "g_optim": {"state": {}, "param_groups": []},
        "args": argparse.Namespace(size=settings.size_px),
    }
    torch.save(content, tmp_path / "published.pt")
    return tmp_path / "published.pt", generator, content


def test_size_and_width_are_read_from_names_and_shapes_and_the_image_is_the_same(checkpoint, tmp_path):
    path, generator, _ = checkpoint
    report = import_checkpoint(path, tmp_path / "ours")
    assert report.network == generator.settings
    image = torch.rand(1, 3, report.network.size_px, report.network.size_px)
    loaded = load_generator(tmp_path / "ours")
    with torch.no_grad():
        assert torch.equal(loaded(image, image.flip(3)), generator.eval()(image, image.flip(3)))
    assert read_config(tmp_path / "ours").provenance == {"imported_from": "published.pt"}


def test_every_entry_is_used_or_named(checkpoint, tmp_path):
    path, _, content = checkpoint
    report = import_checkpoint(path, tmp_path / "ours")
    assert report.num_used + len(report.unused) == len(content["gen"]) + len(content["dis"])
    assert "dec.to_rgb1.bias" in report.unused
    assert report.left_out == ["g_optim", "args"]


def test_a_round_trip_is_bit_exact(checkpoint, tmp_path):
    path, _, content = checkpoint
    import_checkpoint(path, tmp_path / "ours")
    export_checkpoint(tmp_path / "ours", tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for part in ("gen", "dis"):
        assert back[part].keys() == content[part].keys()
        assert all(torch.equal(back[part][name], value) for name, value in content[part].items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list; a LIA checkpoint holds its generator under 'gen'"),
        ({"state_dict": {}}, "holds state_dict; a LIA checkpoint"),
        ({"gen": {"a": torch.zeros(1)}}, r"holds no dec\.direction\.weight: it is not a LIA generator"),
    ],
)
def test_a_file_that_is_not_one_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message):
        import_checkpoint(tmp_path / "x.pt", tmp_path / "ours")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"gen": Evil()}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="is not a checkpoint that can be read safely"):
        import_checkpoint(tmp_path / "x.pt", tmp_path / "ours")


def test_a_file_that_is_no_torch_file_is_refused(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"hello")
    with pytest.raises(ValueError, match="is not a checkpoint that can be read safely"):
        import_checkpoint(tmp_path / "x.pt", tmp_path / "ours")


def test_a_missing_or_foreign_entry_is_named(tmp_path):
    settings = network(128)
    state = to_published(build_generator(settings), generator_keys(128), unused_generator_entries(settings))
    torch.save({"gen": {k: v for k, v in state.items() if k != "enc.fc.2.bias"}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"enc\.fc\.2\.bias is missing"):
        import_checkpoint(tmp_path / "x.pt", tmp_path / "ours")
    torch.save({"gen": state | {"dec.surprise": torch.zeros(1)}}, tmp_path / "y.pt")
    with pytest.raises(ValueError, match=r"1 entries that no LIA of this size has \(first: dec\.surprise\)"):
        import_checkpoint(tmp_path / "y.pt", tmp_path / "ours")
