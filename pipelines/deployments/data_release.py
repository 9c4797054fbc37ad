"""Publishes a version of the data: a commit of its list, settings and hashes, a git tag, and `dvc push`."""

import subprocess
from pathlib import Path

from prefect import get_run_logger, task

from pipelines.child_programs import run_logged
from pipelines.environment import Environment
from pipelines.params import read_params
from preprocessing.shards.manifest import data_digest, read_manifest

DIGEST_CHARS = 12
REMOTE = "dvc remote add --default NAME URL"


@task(name="publish the data", persist_result=False)
def release_data(environment: Environment) -> str:
    """Commit, tag and push the data as it is; return the tag, `data-` and the start of the data's hash.

    Only the files that name the data are committed. A version that is tagged already is pushed again.

    Raises:
        ProgramError: git or DVC refused; the message is theirs.
    """
    paths, log = environment.paths, get_run_logger()
    root, variables = paths.root, environment.tool_variables()
    tag = f"data-{data_digest(read_manifest(paths.shards))[:DIGEST_CHARS]}"
    sources = read_params(root / "params.yaml").download.sources
    named = [str(sources), "data/tombstones.csv", "params.yaml", "dvc.yaml", "dvc.lock"]
    run_logged(["git", "add", "--", *named], root, variables, log)
    if _git(root, "diff", "--cached", "--quiet", "--", *named) != 0:
        run_logged(
            ["git", "commit", "--quiet", "--message", f"Data {tag}", "--", *named], root, variables, log
        )
    if _git(root, "rev-parse", "--quiet", "--verify", f"refs/tags/{tag}") != 0:
        run_logged(["git", "tag", tag], root, variables, log)
    run_logged(["dvc", "push", "shards", "download"], root, variables, log)
    log.info("the data is published as %s", tag)
    return tag


def _git(root: Path, *arguments: str) -> int:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False).returncode
