"""The stages download and shards with a Ray cluster and a store, as a user runs them."""

import pytest

pytestmark = pytest.mark.slow


def join_cluster_of(owner, project):
    """Start a project's Ray head, and make it the cluster of another project."""
    owner.run("lia", "up", "ray", timeout_s=240)
    project.variables.update(
        {
            "LIA_RAY_ADDRESS": f"127.0.0.1:{owner.variables['LIA_RAY_PORT']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(owner.root / "runs/ray/auth_token"),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
    )


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
    join_cluster_of(new_project("cluster-owner"), project)
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
    for name in ("LIA_STORE_URL", "LIA_RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        del project.variables[name]
    alone = project.run("lia", "shards", succeeds=False)
    (line,) = [line for line in alone.stderr.splitlines() if line.startswith("lia:")]
    assert "got 2 sources whose videos are not in" in line
    assert "set LIA_STORE_URL" in line
    project.run("lia", "download")
    assert {path.suffix for path in raw.iterdir()} == {".json", ".mp4"}
