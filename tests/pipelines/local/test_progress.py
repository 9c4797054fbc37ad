from pipelines.local.progress import progress


def test_without_a_terminal_every_tenth_is_a_line(capsys):
    with progress("frames") as show:
        for done in range(101):
            show(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"frames: {tenth}0 of 100" for tenth in range(1, 11)]


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("frames") as show:
        show(0, 4)
        show(4, 4)
    assert "frames" in capsys.readouterr().err
