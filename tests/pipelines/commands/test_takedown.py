from pipelines.commands.takedown import _files, _pages
from preprocessing.sources.source import source_key


def test_only_files_and_pages_that_show_the_videos_are_found(tmp_path):
    key, other = (source_key(f"https://a.example/{number}.mp4") for number in (1, 2))
    for name in (f"{key}.mp4", f"{key}-whole.npz", f"{other}.mp4", "hosts.json"):
        (tmp_path / name).touch()
    (tmp_path / "a.html").write_text(f'<img id="{key}">')
    (tmp_path / "b.html").write_text(f'<img id="{other}">')
    files = _files([tmp_path, tmp_path / "missing"], {key})
    assert sorted(path.name for path in files) == sorted([f"{key}-whole.npz", f"{key}.mp4"])
    pages = [tmp_path / name for name in ("a.html", "b.html", "c.html")]
    assert list(_pages(pages, {key})) == pages[:1]
