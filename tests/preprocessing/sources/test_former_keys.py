import hashlib

from preprocessing.sources.former_keys import match_former_keys, rename_stored, replace_former, stored_keys
from preprocessing.sources.source import Source, source_key

SHORT = "https://youtu.be/dQw4w9WgXcQ"
WATCH = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
OTHER = "https://a.example/v.mp4"


def sha1(text):
    return hashlib.sha1(text.encode()).hexdigest()


def listed(url):
    return Source(url=url, key=source_key(url))


def test_a_usual_spelling_of_a_listed_video_is_found():
    keys = {sha1(SHORT), "0" * 40}
    assert match_former_keys(keys, [listed(OTHER), listed(WATCH)]) == {sha1(SHORT): source_key(WATCH)}
    assert match_former_keys(set(), [listed(WATCH)]) == {}


def test_a_key_that_an_older_ledger_gave_a_url_is_found():
    url = f"{WATCH}&t=17"
    older = Source(url=url, key=sha1(url))
    assert match_former_keys({sha1(url)}, [listed(SHORT), older]) == {sha1(url): source_key(WATCH)}


def test_current_keys_are_added_to_former_ones():
    assert replace_former({"a", "b"}, {"a": "c", "d": "e"}) == {"a", "b", "c"}


def test_files_folders_and_files_in_these_get_current_keys(tmp_path):
    old, new, other = sha1(SHORT), source_key(WATCH), source_key(OTHER)
    for name in (
        f"{old}-whole.npz",
        f"{other}-whole.npz",
        f"{old}-ab/{old}-ab-1.json",
        f"{old}-ab/result.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert stored_keys(tmp_path) == {old, other}
    for _ in range(2):
        rename_stored(tmp_path, {old: new})
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    names = (f"{new}-whole.npz", f"{other}-whole.npz", f"{new}-ab/{new}-ab-1.json", f"{new}-ab/result.json")
    assert files == set(names)
    assert (tmp_path / names[0]).read_text() == f"{old}-whole.npz"


def test_what_is_stored_under_the_current_key_is_kept(tmp_path):
    old, new = sha1(SHORT), source_key(WATCH)
    for key in (old, new):
        (tmp_path / f"{key}.npz").write_text(key)
    rename_stored(tmp_path, {old: new})
    assert (tmp_path / f"{new}.npz").read_text() == new


def test_a_missing_folder_has_no_keys(tmp_path):
    assert stored_keys(tmp_path / "none") == set()
    rename_stored(tmp_path / "none", {"a": "b"})
