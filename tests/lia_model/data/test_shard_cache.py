import multiprocessing
import shutil

import numpy as np
import pytest

from lia_model.data.pair_reader import PairReader
from lia_model.data.shard_cache import are_tars_elsewhere, shards_here
from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import ShardCacheSettings
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.shards.stored_shards import TAR, store_shards
from preprocessing.storage.exchange import tar_bundle
from preprocessing.storage.object_store import Store, StoreError
from tests.lia_model.shards_on_disk import change_held_out, write_shards

NOWHERE = "nowhere"


class Machine:
    """The cache of a machine, and stores with data sets of noise, each under the name of its seed."""

    def __init__(self, folder, max_bytes=10**9):
        self.folder = folder
        self.settings = ShardCacheSettings(folder=str(folder / "cache"), max_bytes=max_bytes)
        self.cache = folder / "cache"

    def store_of(self, seed):
        """Return a store and the digest and size of what it holds."""
        made = self.folder / f"made-{seed}"
        if not made.exists():
            noise = np.random.default_rng(seed)
            clips = list(noise.integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8))
            write_shards(made, {"train": clips, "test": clips[:1]}, 32)
            store_shards(Store(self.url(seed)), made)
        manifest = read_manifest(made)
        size = sum(tar.bytes for tar in manifest.splits.train.tars)
        return Store(self.url(seed)), data_digest(manifest), size

    def url(self, seed):
        return f"file://{self.folder}/store-{seed}"

    def shards(self, seed, store=None, digest=None):
        own, known, _ = self.store_of(seed)
        return shards_here(self.folder / NOWHERE, digest or known, "train", store or own, self.settings)

    def break_store(self, seed):
        shutil.rmtree(self.folder / f"store-{seed}")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_shards_on_the_disk_are_used_without_a_copy(machine):
    _, digest, _ = machine.store_of(1)
    with shards_here(machine.folder / "made-1", digest, "train", None, machine.settings) as found:
        assert found == machine.folder / "made-1"
    assert not machine.cache.exists()


def test_a_machine_without_shards_fetches_those_of_its_split_once(machine):
    with machine.shards(1) as found:
        assert found.parent == machine.cache
        clips = ShardedClips(found, "train")
        assert (clips.frame(2, 3) == ShardedClips(machine.folder / "made-1", "train").frame(2, 3)).all()
        assert not list(found.glob("test/*"))
    # Nothing is left to fetch, so a store that is down stops nobody.
    machine.break_store(1)
    with machine.shards(1) as again:
        assert again == found


def without_tars(shards):
    """Remove what a cluster leaves in the store alone."""
    for path in [*shards.rglob("*.tar"), *shards.rglob("*.npy")]:
        path.unlink()
    return shards


def test_a_folder_without_its_tars_is_completed_from_the_store_in_the_cache(machine):
    store, digest, _ = machine.store_of(1)
    frame = ShardedClips(machine.folder / "made-1", "train").frame(2, 3)
    shards = without_tars(machine.folder / "made-1")
    assert are_tars_elsewhere(shards, "train")
    with shards_here(shards, digest, "train", store, machine.settings) as found:
        assert found.parent == machine.cache
        assert (ShardedClips(found, "train").frame(2, 3) == frame).all()
    with (
        pytest.raises(
            ValueError, match=r"00000\.tar is missing, .* set LIA_STORE_URL if that store has them"
        ),
        shards_here(shards, digest, "train", None, machine.settings),
    ):
        pass


def test_held_out_clips_that_follow_train_clips_come_with_the_tars_of_these_alone(tmp_path):
    machine = Machine(tmp_path)
    made = tmp_path / "made-1"
    noise = np.random.default_rng(1)
    clips = list(noise.integers(0, 256, (5, 4, 32, 32, 3), dtype=np.uint8))
    write_shards(made, {"train": clips, "test": clips[:1]}, 32)
    change_held_out(made, {"by_time": True, "follows": "train-3"})
    store = Store(machine.url(1))
    store_shards(store, made)
    digest = data_digest(read_manifest(made))
    with shards_here(without_tars(made), digest, "test", store, machine.settings) as found:
        tars = sorted(str(path.relative_to(found)) for path in found.rglob("*.tar"))
        assert tars == ["test/00000.tar", "train/00001.tar"]
        reader = PairReader(found)
        assert reader.find("train", "train-3")[0].frame(3, 0).shape == (32, 32, 3)


def test_shards_of_another_run_on_the_disk_are_not_used(machine):
    machine.store_of(2)
    store, digest, _ = machine.store_of(1)
    with shards_here(machine.folder / "made-2", digest, "train", store, machine.settings) as found:
        assert data_digest(read_manifest(found)) == digest


@pytest.mark.parametrize("wrong", [b"half", None], ids=["damaged", "removed"])
def test_a_wrong_tar_in_the_cache_is_fetched_again(machine, wrong):
    with machine.shards(1) as found:
        pass
    path = found / "train/00001.tar"
    whole = path.read_bytes()
    path.unlink()
    if wrong is not None:
        path.write_bytes(wrong)
    (found / "train/.half.partial.tar").write_bytes(b"half")
    with machine.shards(1):
        assert path.read_bytes() == whole
        assert not list(found.rglob(".*"))


def test_a_tar_that_is_damaged_in_the_store_is_refused(machine):
    machine.store_of(1)
    damaged = read_manifest(machine.folder / "made-1").splits.train.tars[1]
    stored = machine.folder / "store-1" / tar_bundle(damaged.recipe_sha256) / TAR
    whole = stored.read_bytes()
    stored.write_bytes(b"half")
    with pytest.raises(StoreError, match=r"train/00001\.tar"), machine.shards(1):
        pass
    assert not (machine.cache / machine.store_of(1)[1] / "train/00001.tar").exists()
    # It counts as absent, so the next run of the stage stores it again.
    store_shards(machine.store_of(1)[0], machine.folder / "made-1")
    assert stored.read_bytes() == whole
    with machine.shards(1):
        pass


def test_a_store_with_other_shards_is_refused(machine):
    other, _, _ = machine.store_of(2)
    with pytest.raises(ValueError, match=r"the store holds the shards \w+…, this run needs"):
        machine.shards(1, store=other).__enter__()
    # Nothing wrong stays behind.
    with machine.shards(1):
        pass


def test_without_shards_and_store_it_says_what_to_do(machine):
    with pytest.raises(ValueError, match="no store to fetch them from: set LIA_STORE_URL"):
        shards_here(machine.folder, "abc", "train", None, machine.settings).__enter__()


def test_the_cache_makes_room_by_removing_what_is_unused_for_longest(tmp_path):
    size = Machine(tmp_path).store_of(1)[2]
    machine = Machine(tmp_path, max_bytes=round(3.5 * size))
    digests = {seed: machine.store_of(seed)[1] for seed in (1, 2, 3, 4)}
    for seed in (1, 2, 1, 3, 4):
        with machine.shards(seed):
            pass
    kept = {seed for seed, digest in digests.items() if (machine.cache / digest).exists()}
    assert kept == {1, 3, 4}


def test_shards_that_a_training_reads_are_not_removed(tmp_path):
    size = Machine(tmp_path).store_of(1)[2]
    machine = Machine(tmp_path, max_bytes=round(1.5 * size))
    with machine.shards(1) as reading:
        with pytest.raises(ValueError, match=r"trainings that run now read \d+ .*: raise train\.shard_cache"):
            machine.shards(2).__enter__()
        assert (reading / "train/00001.tar").exists()
    with machine.shards(2):
        assert not reading.exists()


def _read_at_once(folder, barrier, results):
    machine = Machine(folder)
    barrier.wait()
    with machine.shards(1) as found:
        results.put(ShardedClips(found, "train").frame(0, 0).mean())


def test_processes_that_start_together_fetch_once(machine):
    machine.store_of(1)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_read_at_once, args=(machine.folder, barrier, results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert len({results.get(timeout=60) for _ in processes}) == 1
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
