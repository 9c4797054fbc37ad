"""PostgreSQL from Debian's or Python's packages, with one role and a database for each of its users."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from infra.stack.plan import Plan, Service, StackError
from infra.stack.postgresql_programs import find_programs, may_enter, unprivileged_user
from infra.stack.private_file import write_private

_SYSTEM_DATA = Path("/var/lib")


def postgresql(plan: Plan) -> Service:
    """Return the server of all databases.

    Raises:
        StackError: PostgreSQL is not installed.
    """
    settings, user = plan.settings, unprivileged_user()
    folder = _data_folder(plan.home, user)
    programs = find_programs(folder.parent)
    if programs is None:
        raise StackError("PostgreSQL is missing: run `apt-get install postgresql` as root, or `make setup`")
    options = {
        "listen_addresses": settings.host,
        "port": str(settings.postgres_port),
        # The path of a socket is limited to 107 bytes.
        "unix_socket_directories": "",
        "max_connections": "200",
    }
    given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return Service(
        name="postgresql",
        title="PostgreSQL",
        command=(str(programs / "postgres"), "-D", str(folder), *given),
        ports={"STACK_POSTGRES_PORT": settings.postgres_port},
        user=user,
        prepare=lambda: _initialize(programs, folder, plan, user),
        is_ready=lambda: _accepts(plan),
        complete=lambda: _create_databases(plan),
    )


def _data_folder(home: Path, user: str | None) -> Path:
    """Return where the databases are: in the stack's home, unless the server's user may not enter it."""
    if user is None or may_enter(next(folder for folder in (home, *home.parents) if folder.is_dir())):
        return home / "postgresql"
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
    return _SYSTEM_DATA / f"lia-stack-{mark}" / "postgresql"


def _initialize(programs: Path, folder: Path, plan: Plan, user: str | None) -> None:
    if (folder / "PG_VERSION").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    if user is not None:
        shutil.chown(folder, user)
    # In a file, since others may read a process's arguments, and initdb may not read a pipe of another user.
    password = folder.with_name("postgresql.password")
    write_private(password, f"{plan.credentials.postgres_password}\n")
    if user is not None:
        shutil.chown(password, user)
    try:
        done = subprocess.run(
            [
                programs / "initdb", "-D", folder, "-U", plan.settings.postgres_user, "-A", "scram-sha-256",
                f"--pwfile={password}", "--no-locale", "-E", "UTF8",
            ],
            text=True, capture_output=True, check=False, user=user, cwd="/",
        )  # fmt: skip
    finally:
        password.unlink()
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise StackError(f"initdb failed in {folder}: {reason}")


def _connect(plan: Plan) -> psycopg.Connection:
    url = plan.settings.database_url("postgres", plan.credentials.postgres_password)
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def _accepts(plan: Plan) -> bool:
    try:
        _connect(plan).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise StackError(
                f"PostgreSQL refuses the password of {plan.home / 'credentials.json'}, for its data was made "
                f"with another: restore the file, or run `make stack-stop` and delete {plan.home}"
            ) from None
        return False
    return True


def _create_databases(plan: Plan) -> None:
    settings = plan.settings
    wanted = (
        settings.mlflow_database,
        settings.mlflow_users_database,
        settings.prefect_database,
        settings.jobs_database,
    )
    with _connect(plan) as connection:
        present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in wanted:
            if name not in present:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
