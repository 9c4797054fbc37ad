import socket
from pathlib import Path

import pytest

from lia_model.serving.http.access import is_loopback
from pipelines.commands.serve import run_serve
from pipelines.commands.service_address import require_address, url_of
from pipelines.environment import read_environment
from pipelines.params import read_params
from tests.lia_model.serving.live import live
from tests.ports import free_port

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "params.yaml").touch()
    return read_environment(tmp_path, {})


@pytest.fixture
def taken():
    """A port at which a program listens."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def with_head(environment, address="127.0.0.1:6379"):
    return environment.model_copy(update={"ray_address": address})


@pytest.mark.parametrize("has_head", [True, False])
def test_a_taken_port_is_one_line_before_anything_starts(environment, taken, has_head):
    if has_head:
        environment = with_head(environment)
    params = read_params(CHECKOUT / "params.yaml")
    told = rf"got 127\.0\.0\.1:{taken} for the service, .* \(Address already in use\): .*LIA_SERVE_PORT"
    with pytest.raises(ValueError, match=told) as caught:
        run_serve(params, environment, "127.0.0.1", taken, "models:/lia@champion")
    assert len(str(caught.value).splitlines()) == 1


def test_an_address_of_another_machine_is_refused(environment):
    with pytest.raises(ValueError, match=r"192\.0\.2\.1"):
        require_address(environment, "192.0.2.1", free_port())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "localhost"])
def test_a_free_port_is_accepted(environment, host):
    require_address(environment, host, free_port())
    require_address(with_head(environment), host, free_port())


def test_the_projects_own_service_may_be_replaced_and_no_others(environment, tmp_path):
    root = environment.paths.root
    for folder, is_ours in ((root, True), (tmp_path / "copy", False)):
        with live(folder) as service:
            port = service.client.base_url.port
            if is_ours:
                require_address(with_head(environment), "127.0.0.1", port)
                service.workers.path.unlink()
                assert service.client.get("/healthz").status_code == 503
                require_address(with_head(environment), "127.0.0.1", port)
                with pytest.raises(ValueError, match="Address already in use"):
                    require_address(environment, "127.0.0.1", port)
            else:
                with pytest.raises(ValueError, match="Address already in use"):
                    require_address(with_head(environment), "127.0.0.1", port)


@pytest.mark.parametrize("address", ["10.0.0.7:6379", "ray://head.example:10001", "auto"])
def test_the_address_is_not_checked_on_this_machine_for_a_head_on_another(environment, taken, address):
    require_address(with_head(environment, address), "127.0.0.1", taken)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) == expected


def test_a_url_has_brackets_around_an_address_with_colons():
    assert (url_of("::1", 80), url_of("127.0.0.1", 80)) == ("http://[::1]:80", "http://127.0.0.1:80")
