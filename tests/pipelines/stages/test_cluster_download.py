"""The stages download and shards with a Ray cluster and a store, as a user runs them."""

import pytest

pytestmark = pytest.mark.slow


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_output_of_a_download_on_a_cluster_is_records_and_stays_as_it_is(
    new_project, samples_url, tmp_path
):
    project = new_project("cluster-download", sources=[f"{samples_url}/single_face.mp4,train"])
    raw = project.root / "data/raw"
    project.run("lia", "up", "prefect")
    project.run("lia", "download")
    # A video that was downloaded without the cluster.
    (video,) = raw.glob("*.mp4")
    project.run("lia", "up", "ray", timeout_s=240)
    project.variables["LIA_STORE_URL"] = f"file://{tmp_path}/store"
    project.set_sources([f"{samples_url}/single_face.mp4,train", f"{samples_url}/no_face.mp4,train"])
    done = project.run("dvc", "repro", "shards", timeout_s=400)
    assert "videos are downloaded by the Ray cluster into file://" in done.stdout + done.stderr
    assert "2 verified" in done.stdout + done.stderr
    keys = names(tmp_path / "store/raw")
    assert len(keys) == 2
    assert video.stem in keys
    assert names(raw) == [f"{key}.json" for key in keys]
    for key in keys:
        assert names(tmp_path / "store/raw" / key) == sorted([f"{key}.json", f"{key}.mp4", "sha256.json"])
    done = project.run("dvc", "repro", "shards")
    assert "Stage 'download' didn't change" in done.stdout
    assert "Stage 'shards' didn't change" in done.stdout
