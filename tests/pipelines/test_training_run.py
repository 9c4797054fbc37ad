from pathlib import Path

from pipelines.params import read_params
from pipelines.training_run import opening
from tests.conftest import CHECKOUT
from tests.lia_model.shards_on_disk import make_manifest


def test_an_mlflow_run_is_tagged_with_the_work_that_it_is_part_of():
    settings = read_params(CHECKOUT / "params.yaml").train
    opened = opening("train-1", settings, make_manifest(64), ["key"], Path("/artifacts"), "abc", "work-7")
    assert opened.source_keys == ["key"]
    assert opened.tags["lia.correlation_id"] == "work-7"
