"""A stack with ports, data and a project of its own, and what the drill asks of it."""

import json
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from infra.stack.credentials import Credentials
from infra.stack.members import MARK, members
from infra.stack.plan import Plan
from infra.stack.services import NAMES
from infra.stack.settings import StackSettings
from tests.conftest import Project
from tests.ports import free_ports

PORTS = ("POSTGRES", "MLFLOW", "PREFECT", "RAY", "RAY_DASHBOARD", "SERVE", "PROMETHEUS")
_NUM_S3_PORTS = 8


class TeamStack:
    """The stack of a throw-away project.

    Args:
        project: whose data it works on.
        home: folder of the stack's data.
    """

    def __init__(self, project: Project, home: Path) -> None:
        self.project, self.home = project, home
        *ports, first = free_ports(len(PORTS) + _NUM_S3_PORTS)[: len(PORTS) + 1]
        names = (*(f"STACK_{name}_PORT" for name in PORTS), "STACK_S3_PORT")
        project.variables.update(zip(names, map(str, (*ports, first)), strict=True))
        # So that two workers need both nodes.
        project.variables["STACK_RAY_NODE_CPUS"] = "1"
        # Of the tests' own clusters.
        for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
            project.variables.pop(name, None)

    def run(self, *command: str, succeeds: bool = True, timeout_s: float = 400) -> str:
        """Run `python -m infra.stack` and return what it printed."""
        program = (sys.executable, "-m", "infra.stack", "--home", str(self.home))
        done = self.project.run(*program, *command, succeeds=succeeds, timeout_s=timeout_s)
        return done.stdout + done.stderr

    def client(self, *command: str, **how) -> str:
        """Run a command with the stack's variables and return what it printed."""
        return self.run("run", *command, **how)

    def deployment(self, name: str, succeeds: bool = True, **parameters: str) -> str:
        """Run a deployment to its end and return what Prefect says of it."""
        given = [word for pair in parameters.items() for word in ("--param", "=".join(pair))]
        watched = ("--watch", "--watch-timeout", "380")
        try:
            return self.client("prefect", "deployment", "run", name, *given, *watched, succeeds=succeeds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log_tails(self.plan.records)}") from None

    @property
    def plan(self) -> Plan:
        """Where the stack's parts are, and their secrets."""
        names = StackSettings.model_fields
        file = (self.project.root / "infra/stack.env").read_text().splitlines()
        given = dict(line.split("=", 1) for line in file if line and not line.startswith("#"))
        given |= {name: value for name, value in self.project.variables.items() if name in given}
        settings = StackSettings(**{name: given[f"STACK_{name.upper()}"] for name in names})
        return Plan(
            self.project.root, self.home, settings, Credentials.ensure(self.home / "credentials.json")
        )

    def secrets(self) -> list[bytes]:
        """Return all secrets; the id of the S3 key is none, since requests carry it and servers log it."""
        plan = self.plan
        made = plan.credentials.model_dump(exclude={"s3_key_id"}).values()
        return [secret.encode() for secret in (*made, plan.ray_token.read_text().strip())]

    def members(self) -> list[psutil.Process]:
        """Return the processes of the stack as it finds them itself."""
        return members(NAMES, self.plan.records)

    def others(self) -> list[str]:
        """Return the command lines of processes that name the stack's folders or carry its mark."""
        found, own = [], {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
        words = (str(self.home), str(self.plan.ray_home), str(self.project.root))
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                is_marked = process.environ().get(MARK) == str(self.plan.records)
                if process.pid not in own and (is_marked or any(word in line for word in words)):
                    found.append(line)
        return found

    def get(self, url: str, headers: dict[str, str]) -> dict:
        """Return the JSON at a URL of the stack."""
        request = urllib.request.Request(url, headers=headers)
        with _opener().open(request, timeout=30) as answer:
            return json.load(answer)

    def nodes_of(self, class_name: str) -> set[str]:
        """Return the ids of the nodes on which actors of a class have run."""
        plan = self.plan
        url = f"{plan.settings.ray_dashboard_url()}/api/v0/actors?limit=1000&detail=1"
        answer = self.get(url, {"Authorization": f"Bearer {plan.ray_token.read_text().strip()}"})
        actors = answer["data"]["result"]["result"]
        return {actor["node_id"] for actor in actors if actor["class_name"] == class_name}


def status_for_strangers(url: str) -> int:
    """Return the HTTP status that a request without a password gets."""
    try:
        return _opener().open(url, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def log_tails(folder: Path, num_lines: int = 40) -> str:
    """Return the last lines of every log, for a failed test."""
    return "\n".join(
        f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-num_lines:])
        for log in sorted(folder.glob("*.log"))
    )
