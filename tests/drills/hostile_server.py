"""The service in a process of its own, for the drill of hostile requests: `FOLDER PORT`, until stdin ends."""

import sys
from pathlib import Path

from lia_model.animation.media_check import MediaChecker
from lia_model.serving.access.token_file import TokenFile
from tests.lia_model.serving.live import runner_of, served
from tests.lia_model.serving.service import MEDIA, REQUESTS, Service


def main(folder, port):
    checker = MediaChecker(MEDIA)
    limits = REQUESTS.model_copy(update={"max_pause_s": 2, "max_requests_per_s": 100_000})
    service = Service(
        folder,
        token_file=TokenFile(folder / "tokens.json"),
        check=checker.check,
        requests=limits,
        max_num_queued=20,
    )
    service.workers.keep_beating(lambda: True)
    runner = runner_of(service.jobs, service.job_media, version="3")
    runner.start()
    with served(service.api, port):
        sys.stdin.read()
    runner.stop()
    checker.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
