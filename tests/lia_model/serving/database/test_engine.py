import sqlite3
import time
from contextlib import closing

import pytest
import sqlalchemy as sa

from lia_model.serving.database import (
    METADATA,
    DatabaseBusyError,
    DatabaseError,
    open_database,
    parse_url,
    sqlite_url,
)

NOTES = sa.Table("notes", sa.MetaData(), sa.Column("text", sa.Text, primary_key=True))


@pytest.fixture
def notes(database):
    with database.writing() as db:
        NOTES.create(db)
    return database


def written(database):
    with database.reading() as db:
        return set(db.execute(sa.select(NOTES.c.text)).scalars())


def test_what_a_block_wrote_is_kept_and_undone_if_it_raised(notes):
    with notes.writing() as db:
        db.execute(sa.insert(NOTES).values(text="kept"))
    with pytest.raises(sa.exc.IntegrityError), notes.writing() as db:
        db.execute(sa.insert(NOTES), [{"text": "undone"}, {"text": "kept"}])
    assert written(notes) == {"kept"}


def test_a_mistake_of_ours_is_not_taken_for_a_broken_database(notes):
    with notes.writing() as db:
        db.execute(sa.insert(NOTES).values(text="once"))
    with pytest.raises(sa.exc.IntegrityError), notes.writing() as db:
        db.execute(sa.insert(NOTES).values(text="once"))


def test_a_transaction_that_waits_too_long_for_another_says_so(notes, database_url):
    impatient = open_database(database_url, busy_timeout_s=0.2)
    with notes.writing("name"):
        started = time.monotonic()
        busy = r"within 0\.2 s, since another process writes to it"
        with pytest.raises(DatabaseBusyError, match=busy) as error, impatient.writing("name"):
            pass
        assert time.monotonic() - started >= 0.2
        assert "\n" not in str(error.value)
    with impatient.writing("name"):
        pass
    impatient.close()


def test_another_program_that_writes_to_the_file_is_waited_for_and_then_reported(tmp_path):
    path = tmp_path / "jobs.sqlite"
    database = open_database(sqlite_url(path), busy_timeout_s=0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError, match=r"jobs\.sqlite"), database.writing():
            pass
        with database.reading() as db:
            assert db.execute(sa.text("SELECT 1")).scalar() == 1


def test_a_server_that_is_gone_is_an_error_of_one_line_without_the_password(tmp_path):
    with pytest.raises(DatabaseError, match="accepts connections") as error:
        open_database("postgresql://me:s3cret@/jobs?host=" + str(tmp_path), busy_timeout_s=2)
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_connections_that_a_restarted_server_has_closed_are_made_anew(postgres):
    database = open_database(postgres.create())
    with database.writing() as db:
        NOTES.create(db)
    postgres.stop("QUIT")
    with pytest.raises(DatabaseError), database.reading():
        pass
    postgres.start()
    assert written(database) == set()
    database.close()


@pytest.mark.parametrize(
    "url", ["", "jobs.sqlite", "mysql://me:s3cret@host/jobs", "postgresql+asyncpg://host/a"]
)
def test_a_url_of_another_kind_is_refused_without_repeating_its_password(url):
    with pytest.raises(ValueError, match="sqlite:///FILE and postgresql://") as error:
        parse_url(url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_that_no_other_process_sees_is_refused(url):
    with pytest.raises(ValueError, match="without a file"):
        parse_url(url)


@pytest.mark.parametrize("name", ["plain", "per%20cent", "what?", "a b#c", "ünï"])
def test_a_file_of_any_name_is_found_again(tmp_path, name):
    path = tmp_path / name / "jobs.sqlite"
    open_database(sqlite_url(path))
    assert path.is_file()


def test_the_tables_belong_to_one_description():
    assert {"jobs", "batch_items", "turns"} <= set(METADATA.tables)
