import pytest
from mlflow import MlflowClient

from lia_model.registry.models import version_tags
from lia_model.serving.interactive.direction_names import NamesInFile, NamesInRegistry, NamesUnavailableError
from lia_model.serving.messages import ModelVersion


def test_names_in_a_file_are_there_for_the_next_reader(tmp_path):
    path = tmp_path / "new" / "names.json"
    assert NamesInFile(path).read() == {}
    NamesInFile(path).set(2, "nod")
    NamesInFile(path).set(11, "Lächeln")
    assert NamesInFile(path).read() == {2: "nod", 11: "Lächeln"}
    NamesInFile(path).set(2, "")
    assert NamesInFile(path).read() == {11: "Lächeln"}


@pytest.mark.slow
def test_names_of_a_registered_version_are_its_tags(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    client.create_registered_model("lia")
    for _ in range(2):
        client.create_model_version("lia", str(tmp_path))
    names = NamesInRegistry(ModelVersion(name="lia", version="1"), uri)
    names.set(3, "smile")
    assert names.read() == {3: "smile"}
    assert version_tags("lia", "1", uri)["lia.direction.03"] == "smile"
    assert NamesInRegistry(ModelVersion(name="lia", version="2"), uri).read() == {}
    names.set(3, "")
    assert names.read() == {}


def test_names_of_a_version_that_is_gone_are_unavailable(tmp_path):
    names = NamesInRegistry(ModelVersion(name="lia", version="1"), "nonsense://")
    with pytest.raises(NamesUnavailableError, match="try again later"):
        names.read()
