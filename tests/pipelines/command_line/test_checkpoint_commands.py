from pathlib import Path


def test_a_checkpoint_is_registered_on_request(lia, root, record):
    calls = record("pipelines.commands.checkpoints.run_import", "told")
    done = lia("import-checkpoint", "vox.pt", "-o", "vox")
    assert (done.code, done.out) == (0, "told\n")
    lia("import-checkpoint", "vox.pt", "-o", "vox", "--register", "lia-vox")
    assert [call["name"] for call in calls] == [None, "lia-vox"]
    assert (calls[0]["file"], calls[0]["output"]) == (Path("vox.pt"), Path("vox"))
    assert calls[0]["artifacts"] == root / "mlartifacts"


def test_a_folder_that_is_no_checkpoint_is_refused_in_one_line(lia, root):
    (root / "mine").mkdir()
    assert "is not a checkpoint directory" in lia("import-checkpoint", "vox.pt", "-o", "mine").error
    assert "is not a checkpoint directory" in lia("export-checkpoint", "mine", "-o", "vox.pt").error
    assert not (root / "vox.pt").exists()


def test_onnx_graphs_are_of_the_champion_unless_a_model_is_named(lia, record):
    calls = record("pipelines.commands.checkpoints.run_export_onnx", "told")
    assert lia("export-onnx", "-o", "graphs").out == "told\n"
    lia("export-onnx", "-o", "graphs", "--model", "checkpoints/final")
    assert [call["model"] for call in calls] == ["models:/lia@champion", "checkpoints/final"]
    assert calls[0]["output"] == Path("graphs")


def test_an_output_is_required(lia):
    for command in (("import-checkpoint", "a"), ("export-checkpoint", "a"), ("export-onnx",)):
        done = lia(*command)
        assert done.code == 2
        assert "Missing option" in done.err
