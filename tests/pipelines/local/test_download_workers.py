"""Downloads on a real Ray cluster into a real S3 server, with faults; hosts are servers on loopback."""

import base64
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import ray
from pydantic import TypeAdapter
from ray.util.state import list_actors, list_jobs, list_objects, list_tasks, list_workers

from pipelines.local.cluster import connected
from pipelines.local.download_workers import LIMITS, NAMESPACE
from preprocessing.download.limits.shared_limits import REQUESTS
from preprocessing.download.worker import FOLDER_PREFIX
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source, source_key
from preprocessing.storage.exchange import video_bundle
from preprocessing.storage.object_store import Store
from tests.conftest import CHECKOUT
from tests.object_store import stoppable_s3
from tests.preprocessing.conftest import download_settings, make_video
from tests.preprocessing.fault_server import FaultServer, answer, send

__all__ = ["download_settings", "make_video"]

pytestmark = [
    pytest.mark.slow,
    # Ray drops the handles of processes that it told to end; Python warns of those that have not ended yet.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

PATIENCE_S = 180
DRIVER = """
import os
import sys
from pathlib import Path
from pydantic import SecretStr, TypeAdapter
from pipelines.local.cluster import joined
from pipelines.local.download_workers import ClusterPlace
from preprocessing.download.run import download_sources
from preprocessing.ledger import Download
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
folder, address, store_url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
settings = DownloadSettings.model_validate_json((folder / "settings.json").read_text())
# The file masks a proxy, as the settings do wherever they are written.
if proxy := os.environ.get("LIA_DOWNLOAD_PROXY"):
    settings = settings.model_copy(update={"proxy": SecretStr(proxy)})
sources = TypeAdapter(list[Source]).validate_json((folder / "sources.json").read_text())
def log(text, *words):
    print(text % words, flush=True)
with joined(address):
    place = ClusterPlace(settings, folder / "raw", store_url)
    rows = download_sources(sources, settings, folder / "raw", log, place=place)
(folder / "rows.json").write_bytes(TypeAdapter(dict[str, Download]).dump_json(rows))
"""


class TimedServer(FaultServer):
    """A host that notes when each video was first asked for in an attempt (yt-dlp asks twice or more)."""

    def __init__(self, host):
        super().__init__(host)
        self.times, self.cookies, self.vias = [], [], []

    def respond(self, handler):
        self.times.append((time.time(), handler.path))
        self.cookies.append(handler.headers.get("Cookie"))
        self.vias.append(handler.headers.get("Via"))
        super().respond(handler)

    def begun(self):
        """Return the first time of each path."""
        first = {}
        for at, path in self.times:
            first.setdefault(path, at)
        return first


class Proxy(FaultServer):
    """A proxy that asks for a password, forwards requests, and says so in a header."""

    def __init__(self, host, password):
        super().__init__(host)
        self.address = self.url.replace("//", f"//ann:{password}@")
        self.wanted = f"Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}"

    def respond(self, handler):
        if handler.headers.get("Proxy-Authorization") != self.wanted:
            send(handler, 407, {"Proxy-Authenticate": "Basic"})
            return
        place = urlsplit(handler.path)
        connection = HTTPConnection(place.hostname, place.port)
        try:
            connection.request(handler.command, place.path, headers={"Via": "1.1 proxy"})
            with connection.getresponse() as answered:
                kind = answered.getheader("Content-Type", "text/plain")
                content = answered.read()
                send(
                    handler, answered.status, {"Content-Type": kind, "Content-Length": len(content)}, content
                )
        except OSError:
            send(handler, 502, {})
        finally:
            connection.close()


NUMBERS = itertools.count(11)


@pytest.fixture
def host(tmp_path, make_video):
    # An address of its own for each test: the cluster's actor remembers what was asked of others.
    server = TimedServer(f"127.0.0.{next(NUMBERS)}")
    video = make_video(tmp_path / "v.mp4", range(20, 220, 4)).read_bytes()
    server.files = {f"/{number}.mp4": ("video/mp4", video + bytes([0, 0, 0, 9, *b"free", number]))
                    for number in range(20)}  # fmt: skip
    yield server
    server.close()


@pytest.fixture(scope="module")
def s3_server():
    with pytest.MonkeyPatch.context() as patch, stoppable_s3(patch) as server:
        yield server


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """The folder of temporary files of the cluster's processes."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="module")
def address(s3_server, machine):
    """A cluster with 4 CPUs; the store is the one of `s3_server`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.local.cluster.num_logical_cpus", lambda: 4)
        home = Path(tempfile.mkdtemp(prefix="ray-"))
        patch.setenv("TMPDIR", str(machine))
        with connected(None, home, "127.0.0.1"):
            yield ray.get_runtime_context().gcs_address
    gc.collect()


class Driver:
    """A run in a process of its own, with a folder of its own."""

    def __init__(self, folder, address, store_url):
        self.folder, self.address, self.store_url = folder, address, store_url
        folder.mkdir()
        self.process = None

    def prepare(self, settings, urls, **changes):
        hosts = {"allow_private_hosts": [urlsplit(url).hostname or "" for url in urls]}
        settings = DownloadSettings.model_validate(settings.model_dump() | hosts | changes)
        (self.folder / "settings.json").write_text(settings.model_dump_json())
        sources = [Source(url=url, key=source_key(url)) for url in urls]
        (self.folder / "sources.json").write_bytes(TypeAdapter(list[Source]).dump_json(sources))

    def start(self, **variables):
        command = [sys.executable, "-c", DRIVER, str(self.folder), self.address, self.store_url]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=CHECKOUT, env=os.environ | variables
            )

    def finish(self):
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        return {row["status"] for row in json.loads((self.folder / "rows.json").read_text()).values()}

    def run(self, **variables):
        self.start(**variables)
        return self.finish()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self):
        return (self.folder / "log").read_text()

    def names(self):
        return sorted(path.name for path in (self.folder / "raw").iterdir())


@pytest.fixture
def new_driver(tmp_path, address, s3_server):
    """Function that makes a driver by its name; each has a store of its own."""
    drivers = []

    def make(name):
        store_url = f"{s3_server.variables['LIA_STORE_URL']}/{tmp_path.name}/{name}"
        drivers.append(Driver(tmp_path / name, address, store_url))
        return drivers[-1]

    yield make
    for driver in drivers:
        if driver.process is not None and driver.process.poll() is None:
            driver.kill()


def wait_for(is_so, patience_s=PATIENCE_S):
    deadline_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.05)


def stored(driver, host):
    """Return the paths of the videos that the driver's store has."""
    store = Store(driver.store_url)
    return {path for path in host.files if store.holds(video_bundle(source_key(f"{host.url}{path}")))}


def kill_workers():
    """Kill the processes of the cluster that download; return how many there were."""
    killed = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith("ray::_download"):
                process.kill()
                killed += 1
    return killed


def work_folders(machine):
    return list(machine.glob(f"{FOLDER_PREFIX}*"))


def test_machines_download_into_the_store_and_the_driver_keeps_records_alone(
    new_driver, host, machine, tmp_path, download_settings
):
    (tmp_path / "films").mkdir()
    (tmp_path / "films/v.mp4").write_bytes(host.files["/0.mp4"][1])
    secret = "s3cr3t-of-the-cookie"
    (tmp_path / "cookies.txt").write_text(
        "# Netscape HTTP Cookie File\n"
        f"{urlsplit(host.url).hostname}\tFALSE\t/\tFALSE\t4102444800\tid\t{secret}\n"
    )
    driver = new_driver("one")
    local = (tmp_path / "films/v.mp4").as_uri()
    urls = [*(f"{host.url}/{number}.mp4" for number in range(3)), f"{host.url}/none.mp4", local]
    changes = {"local_root": tmp_path / "films", "cookies": tmp_path / "cookies.txt"}
    driver.prepare(download_settings, urls, **changes)
    assert driver.run() == {"verified", "permanent"}
    keys = [source_key(url) for url in urls]
    refused = f"{keys.pop(3)}.refused.json"
    records = sorted([*(f"{key}.json" for key in keys), refused])
    assert driver.names() == records
    assert work_folders(machine) == []
    assert set(host.cookies) == {f"id={secret}"}
    ray_logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    for path in [driver.folder / "log", *ray_logs.rglob("*")]:
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    # A rerun asks nobody, and reads no byte of a video, which the store only claims to have.
    store, asked = Store(driver.store_url), len(host.times)
    for key in keys:
        store._fs.rm_file(store._full(f"{video_bundle(key)}/{key}.mp4"))
    before = {name: (driver.folder / "raw" / name).read_bytes() for name in records}
    assert driver.run() == {"verified", "permanent"}
    for key in keys:
        (driver.folder / "raw" / f"{key}.json").unlink()
    assert driver.run() == {"verified", "permanent"}
    assert len(host.times) == asked
    assert {name: (driver.folder / "raw" / name).read_bytes() for name in records} == before


@pytest.fixture
def proxy():
    server = Proxy("127.0.0.9", "s3cr3t-of-the-proxy")
    yield server
    server.close()


def told_by_ray(address):
    """Return all that Ray's state API tells of tasks, actors, jobs and processes."""
    return "".join(
        repr(ask(address, detail=True, limit=1000))
        for ask in (list_tasks, list_actors, list_jobs, list_objects, list_workers)
    )


@pytest.mark.parametrize("password", ["s3cr3t-of-the-proxy", "s3cr3t-and-wrong"])
def test_machines_use_the_proxy_and_its_password_is_in_no_log_record_or_state(
    new_driver, host, proxy, download_settings, password
):
    host.faults["/1.mp4"] = answer(503)
    urls = [f"{host.url}/{name}.mp4" for name in ("0", "1", "none")]
    refused, unreachable = "http://127.0.0.2:8/v.mp4", "http://127.0.0.1:1/v.mp4"
    driver = new_driver("one")
    allowed = [urlsplit(host.url).hostname, "127.0.0.1"]
    changes = {"num_retries": 1, "retry_delay_s": 0.1, "allow_private_hosts": allowed, "num_parallel": 2}
    driver.prepare(download_settings, [*urls, refused, unreachable], **changes)
    statuses = driver.run(LIA_DOWNLOAD_PROXY=proxy.address.replace("s3cr3t-of-the-proxy", password))
    is_right = password == "s3cr3t-of-the-proxy"
    assert statuses == ({"verified", "permanent", "retryable"} if is_right else {"permanent", "environment"})
    assert set(proxy.requests) == {*urls, unreachable}
    # Nobody is connected to but through it.
    assert set(host.vias) == ({"1.1 proxy"} if is_right else set())
    assert stored(driver, host) == ({"/0.mp4"} if is_right else set())
    said = told_by_ray(driver.address)
    assert "_download" in said
    rows = json.loads((driver.folder / "rows.json").read_text())
    assert "allow_private_hosts" in rows[source_key(refused)]["error"]
    if not is_right:
        # Not held against the videos: a run with another password requests them again.
        assert {"set LIA_DOWNLOAD_PROXY" in rows[source_key(url)]["error"] for url in urls} == {True}
        assert driver.names() == [f"{source_key(refused)}.refused.json"]
    # Also as the header that carries it.
    secrets = [password, base64.b64encode(f"ann:{password}".encode()).decode()]
    assert [secret for secret in secrets if secret in said] == []
    ray_logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    for path in [*driver.folder.rglob("*"), *ray_logs.rglob("*")]:
        content = path.read_bytes() if path.is_file() else b""
        assert [secret for secret in secrets if secret.encode() in content] == [], path


def test_machines_copy_videos_of_buckets_and_use_no_proxy_for_them(
    new_driver, host, proxy, s3_server, download_settings
):
    driver = new_driver("one")
    files = Store(driver.store_url)._fs
    names = [f"lia/films/{number} of #many.mp4" for number in range(3)]
    for number, name in enumerate(names):
        files.pipe_file(name, host.files[f"/{number}.mp4"][1])
    urls = [f"s3://{name}" for name in [*names, "lia/films/none.mp4"]]
    driver.prepare(download_settings, [*urls, f"{host.url}/4.mp4"], num_parallel=3)
    assert driver.run(LIA_DOWNLOAD_PROXY=proxy.address) == {"verified", "permanent"}
    rows = json.loads((driver.folder / "rows.json").read_text())
    found = [rows[source_key(url)] for url in urls]
    assert [row["status"] for row in found] == ["verified"] * 3 + ["permanent"]
    assert {row["downloader"].split()[0] for row in found[:3]} == {"s3fs"}
    assert "there is no such file" in found[3]["error"]
    assert set(proxy.requests) == {f"{host.url}/4.mp4"}
    store = Store(driver.store_url)
    for number, url in enumerate(urls[:3]):
        key = source_key(url)
        stored_file = store._fs.cat(store._full(f"{video_bundle(key)}/{key}.mp4"))
        assert stored_file == host.files[f"/{number}.mp4"][1]
    assert driver.names() == sorted(
        [f"{source_key(url)}.json" for url in [*urls[:3], f"{host.url}/4.mp4"]]
        + [f"{source_key(urls[3])}.refused.json"]
    )
    for name in names:
        files.rm_file(name)
    # What the store has is asked for nowhere.
    assert driver.run() == {"verified", "permanent"}


def test_two_runs_share_a_hosts_quota_and_distance_whatever_dies(new_driver, host, download_settings):
    """Also when the actor dies for good, when it is started again, and when both runs are."""
    quota, name = 5, urlsplit(host.url).hostname
    drivers = [new_driver(one) for one in ("one", "two")]
    for number, driver in enumerate(drivers):
        urls = [f"{host.url}/{video}.mp4" for video in range(number, 12, 2)]
        # The second run would allow itself more, and faster.
        limits = {"max_per_hour": {name: quota + 20 * number}, "request_pause_s": 1.0 - number}
        driver.prepare(download_settings, urls, num_parallel=3, **limits)
        driver.start()
        wait_for(lambda: len(host.begun()) >= 1)
    wait_for(lambda: len(host.begun()) >= 2)
    ray.kill(ray.get_actor(LIMITS, namespace=NAMESPACE), no_restart=False)
    wait_for(lambda: len(host.begun()) >= 3)
    ray.kill(ray.get_actor(LIMITS, namespace=NAMESPACE), no_restart=True)
    wait_for(lambda: len(host.begun()) == quota)
    wait_for(lambda: sum(len(stored(driver, host)) for driver in drivers) == quota)
    for driver in drivers:
        driver.kill()
        driver.start()
    wait_for(lambda: all("quota of" in driver.said() for driver in drivers))
    time.sleep(5)
    times = sorted(host.begun().values())
    assert len(times) == quota
    # Half of what they were apart when they began: the start of a child process takes its time.
    assert times[-1] - times[0] > 0.5 * (quota - 1)
    kept = [json.loads(Store(one.store_url)._fs.cat(Store(one.store_url)._full(REQUESTS))) for one in drivers]
    assert [len(one[name]) for one in kept] == [quota, quota]


@pytest.mark.parametrize("quota", [9, 2])
def test_retries_count_in_the_quota_and_hold_no_machine_for_long(new_driver, host, download_settings, quota):
    name = urlsplit(host.url).hostname
    host.faults["/0.mp4"] = answer(503)
    driver = new_driver("one")
    driver.prepare(
        download_settings,
        [f"{host.url}/0.mp4"],
        num_retries=2,
        retry_delay_s=0.1,
        max_per_hour={name: quota},
    )
    num_allowed = min(3, quota)
    if num_allowed == 3:
        assert driver.run() == {"retryable"}
    else:
        driver.start()
        wait_for(lambda: "quota of 2 requests" in driver.said())
        assert kill_workers() == 0
    assert [path for _, path in host.times] == ["/0.mp4"] * num_allowed
    store = Store(driver.store_url)
    assert len(json.loads(store._fs.cat(store._full(REQUESTS)))[name]) == num_allowed


def test_the_download_of_a_lost_worker_is_repeated(
    new_driver, host, tmp_path, download_settings, monkeypatch
):
    """Its work folder goes with the next download on that machine."""
    lost = []

    def lose(server, handler):
        if handler.command != "GET" or lost:
            return False
        # At once, since the next request of the same attempt may come before the worker is dead.
        lost.append(handler.path)
        send(handler, 200, {"Content-Type": "video/mp4", "Content-Length": 10**6}, b"begun")
        handler.wfile.flush()
        wait_for(lambda: kill_workers() > 0)
        return True

    host.faults["/0.mp4"] = lose
    driver = new_driver("one")
    driver.prepare(download_settings, [f"{host.url}/{number}.mp4" for number in range(3)], num_parallel=1)
    assert driver.run() == {"verified"}
    assert lost == ["/0.mp4"]
    assert stored(driver, host) == {"/0.mp4", "/1.mp4", "/2.mp4"}


def test_a_killed_run_requests_nothing_again_that_is_stored(new_driver, host, download_settings):
    driver = new_driver("one")
    urls = [f"{host.url}/{number}.mp4" for number in range(8)]
    driver.prepare(download_settings, urls, num_parallel=2, request_pause_s=0.5)
    driver.start()
    wait_for(lambda: len(stored(driver, host)) >= 3)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    # Ray ends the tasks of a lost driver, which takes it a moment.
    wait_for(lambda: kill_workers() == 0)
    before, asked = stored(driver, host), len(host.times)
    assert 3 <= len(before) < 8
    assert driver.run() == {"verified"}
    assert {path for _, path in host.times[asked:]} == set(host.files) & {
        f"/{n}.mp4" for n in range(8)
    } - before


def test_nothing_is_lost_or_requested_twice_while_the_store_is_down(
    new_driver, host, s3_server, download_settings
):
    driver = new_driver("one")
    driver.prepare(
        download_settings,
        [f"{host.url}/{number}.mp4" for number in range(6)],
        num_parallel=2,
        max_per_hour={urlsplit(host.url).hostname: 100},
    )
    driver.start()
    wait_for(lambda: len(stored(driver, host)) >= 2)
    s3_server.stop()
    time.sleep(15)
    s3_server.start()
    assert driver.finish() == {"verified"}
    assert len(stored(driver, host)) == 6
    attempts = {path: [one for _, one in host.times].count(path) for path in host.begun()}
    assert len(set(attempts.values())) == 1, attempts
