"""`python -m infra.stack up|down|status|run COMMAND…`: the team's stack as processes on this machine."""

import argparse
import logging
import os
import subprocess
import sys
from pathlib import Path

from infra.stack.credentials import Credentials
from infra.stack.plan import Plan, StackError
from infra.stack.processes import running, start_all, stop_all
from infra.stack.services import NAMES, define_services
from infra.stack.settings import read_settings

_ROOT = Path(__file__).resolve().parents[2]
_WRONG_USE = 2
_INTERRUPTED = 130


def main() -> int:
    """Run the command of this process's arguments and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description=__doc__)
    parser.add_argument("--home", type=Path, default=_ROOT / "runs" / "stack", help="data, logs, credentials")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run yet")
    commands.add_parser("down", help="end all, keep the data")
    commands.add_parser("status", help="print what runs; exit 1 if something does not that should")
    run = commands.add_parser("run", help="run a command as a client of the stack")
    run.add_argument("program", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="stack: %(message)s")
    # Of a store that does not answer yet.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        return _run(arguments, _plan(arguments.home.resolve()))
    except (ValueError, StackError) as error:
        sys.stderr.write(f"stack: {error}\n")
        return _WRONG_USE if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("stack: interrupted; `make stack` goes on, `make stack-stop` ends what runs\n")
        return _INTERRUPTED


def _plan(home: Path) -> Plan:
    settings = read_settings(_ROOT / "infra" / "stack.env")
    return Plan(_ROOT, home, settings, Credentials.ensure(home / "credentials.json"))


def _run(arguments: argparse.Namespace, plan: Plan) -> int:
    if arguments.command == "up":
        start_all(define_services(plan), plan.records, plan.root, plan.quiet_variables())
        _print_addresses(plan)
        return 0
    if arguments.command == "down":
        stopped = stop_all(NAMES, plan.records)
        _say(f"ended: {', '.join(stopped) or 'nothing ran'}")
        return 0
    if arguments.command == "status":
        return _print_status(plan)
    if not arguments.program:
        raise ValueError("run needs a program: for example `python -m infra.stack run lia doctor`")
    return subprocess.run(arguments.program, env={**os.environ, **plan.client_variables()}).returncode


def _print_status(plan: Plan) -> int:
    alive = running(NAMES, plan.records)
    is_whole = True
    for service in define_services(plan):
        reason = None if service.name in alive else service.why_left_out()
        is_whole = is_whole and (service.name in alive or reason is not None)
        state = "runs" if service.name in alive else "does not run"
        _say(f"{service.name}: {state}{'' if reason is None else f': {reason}'}")
    return 0 if is_whole else 1


def _print_addresses(plan: Plan) -> None:
    settings = plan.settings
    for title, url in (
        ("MLflow", settings.mlflow_url()),
        ("Prefect", settings.prefect_url()),
        ("Ray", settings.ray_dashboard_url()),
        ("S3", settings.s3_url()),
        ("Animations", settings.service_url()),
        ("Prometheus", settings.prometheus_url()),
    ):
        _say(f"{title:10} {url}")
    _say(f"passwords: {plan.home / 'credentials.json'}; Ray's token: {plan.ray_token}")
    _say("a command that uses it: python -m infra.stack run COMMAND; its end: make stack-stop")


def _say(line: str) -> None:
    print(line)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
