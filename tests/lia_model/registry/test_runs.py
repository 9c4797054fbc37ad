from lia_model.registry import runs


def test_a_run_is_reopened_by_its_name(open_run):
    first, again, other = open_run("one"), open_run("one"), open_run("two")
    assert first.run_id == again.run_id != other.run_id


def test_a_run_keeps_the_description_that_somebody_edited(store):
    run = runs.open_run("described", store / "artifacts", {}, {}, "what it is")

    def note():
        return runs.mlflow_client().get_run(run.run_id).data.tags["mlflow.note.content"]

    assert note() == "what it is"
    run.set_tags({"mlflow.note.content": "the good one"})
    runs.open_run("described", store / "artifacts", {}, {}, "what it is")
    assert note() == "the good one"


def test_settings_are_logged_with_dotted_names(open_run):
    run = open_run("one")
    assert runs.mlflow_client().get_run(run.run_id).data.params == {"seed": "1", "network.width": "0.5"}


def test_a_step_logged_twice_counts_once(open_run):
    run = open_run("history")
    run.log_metrics(1, {"loss/l1": 0.5})
    run.log_metrics(2, {"loss/l1": 0.4})
    run.log_metrics(2, {"loss/l1": 0.3})
    assert run.metric_history("loss/l1") == [(1, 0.5), (2, 0.3)]
    assert run.metric_names() == ["loss/l1"]


def test_a_data_set_is_named_on_the_run(open_run):
    run = open_run("data")
    runs.log_dataset(run, "shards", "a" * 32 + ".dir", "data/shards", {"frames": 3})
    (entry,) = runs.mlflow_client().get_run(run.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("shards", "a" * 32 + ".dir")


def test_source_keys_come_back_and_a_run_of_another_store_has_none(open_run):
    run = open_run("keys")
    assert run.source_keys() == set()
    run.log_source_keys(["b", "a"])
    assert run.source_keys() == {"a", "b"}
    assert runs.Run("0" * 32).source_keys() == set()


def test_every_run_is_listed_once(open_run):
    opened = {open_run(name).run_id: name for name in ("one", "two")}
    listed = list(runs.all_runs())
    assert len(listed) == len(dict(listed))
    assert opened.items() <= dict(listed).items()
