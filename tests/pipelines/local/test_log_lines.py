import asyncio
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.local.log_lines import JsonFormatter, leave_out_lost_connections
from tests.conftest import CHECKOUT


def test_a_line_is_an_object_with_the_traceback():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a.b", logging.ERROR, __file__, 1, "of %s", ("Zoë",), sys.exc_info())
    line = JsonFormatter("work-7").format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["level"], found["logger"]) == ("of Zoë", "ERROR", "a.b")
    assert found["correlation_id"] == "work-7"
    assert found["exception"].endswith("ValueError: two\nlines")
    assert found["time"].endswith("+00:00")


def test_a_command_writes_only_objects(tmp_path):
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    variables = os.environ | {
        "LIA_LOG_FORMAT": "json", "LIA_CORRELATION_ID": "work-7", "LIA_MLFLOW_TRACKING_URI": "http://127.0.0.1:1"
    }  # fmt: skip
    lia = Path(sys.executable).parent / "lia"
    done = subprocess.run(
        [lia, "batch", "missing.csv", "-o", "out"],
        cwd=tmp_path,
        env=variables,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert "missing.csv" in lines[-1]["message"]
    assert {line["correlation_id"] for line in lines} == {"work-7"}


def test_asyncio_tells_of_forgotten_errors_but_not_of_lost_connections(caplog, monkeypatch):
    async def fail(error):
        raise error

    async def forget():
        for error in (ConnectionResetError("closing transport"), KeyError("a bug")):
            task = asyncio.create_task(fail(error))
            await asyncio.wait([task])
            del task

    asyncio_logger = logging.getLogger("asyncio")
    # Servers that other tests run here change it.
    for name, value in {"disabled": False, "propagate": True, "filters": [], "handlers": []}.items():
        monkeypatch.setattr(asyncio_logger, name, value)
    leave_out_lost_connections()
    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(forget())
        gc.collect()
    told = [record.exc_info[0] for record in caplog.records if record.name == "asyncio" and record.exc_info]
    assert told == [KeyError]
