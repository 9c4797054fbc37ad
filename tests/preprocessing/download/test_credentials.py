"""Secrets are searched for in everything that a run writes."""

import logging
from dataclasses import replace

import pytest
from pydantic import SecretStr

from preprocessing.download.changes import invalid_row
from preprocessing.download.credentials import mask_credentials, mask_source
from preprocessing.download.run import download_sources
from preprocessing.ledger import SourceRow, write_sources
from preprocessing.sources.source_list import BadRow
from tests.preprocessing.fault_server import FaultServer, answer

SECRET = "s3cr3tw0rd"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"got http://ann:{SECRET}@a.org/v.mp4, but", "got http://***@a.org/v.mp4, but"),
        (f"socks5://{SECRET}@a.org:1080", "socks5://***@a.org:1080"),
        (f"http://a.org/v?token={SECRET}&t=5", "http://a.org/v?token=***&t=5"),
        (f"http://a.org/v?t=5&X-Amz-Signature={SECRET}", "http://a.org/v?t=5&X-Amz-Signature=***"),
        (f"http://a.org/v?access_token={SECRET}#x", "http://a.org/v?access_token=***#x"),
        (f"http://a.org/v?api_key={SECRET} gave 404", "http://a.org/v?api_key=*** gave 404"),
        (f"http://a.org/v?sig={SECRET}", "http://a.org/v?sig=***"),
    ],
)
def test_users_passwords_and_tokens_are_masked(text, masked):
    assert mask_credentials(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "https://www.youtube.com/watch?v=abc&list=PL1&t=10s",
        "mail ann@a.org about http://a.org/v.mp4?keyframe=3&design=1",
        "http://a.org/@ann/v.mp4",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert mask_credentials(text) == text


def test_masked_sources_keep_their_keys_and_stay_apart(make_source):
    one, other = (make_source(f"http://a.org/v?token={SECRET}{number}") for number in (1, 2))
    assert (mask_source(one).key, mask_source(one).row_key) == (one.key, one.row_key)
    assert mask_source(one).url != mask_source(other).url
    plain = make_source("http://a.org/v?id=1", note="n", extra={"a": "b"})
    assert mask_source(plain) == plain


def test_no_secret_is_in_any_file_record_or_log_of_a_run(
    tmp_path, video, download_settings, make_source, caplog
):
    caplog.set_level(logging.DEBUG)
    server = FaultServer("127.0.0.1")
    paths = [f"/{name}.mp4?token={SECRET}" for name in ("good", "none", "secret", "down", "liar")]
    server.files = {paths[0]: ("video/mp4", video), paths[4]: ("video/mp4", b"no video" * 100)}
    server.faults = {paths[2]: answer(403), paths[3]: answer(503)}
    urls = [*(f"{server.url}{path}" for path in paths), f"http://127.0.0.2/v.mp4?token={SECRET}"]
    cookies = tmp_path / "cookies.txt"
    line = "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", "sign", SECRET))
    cookies.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    logged, rows = [], []

    def log(words, *values):
        logged.append(words % values)

    for proxy in (None, SecretStr(f"http://ann:{SECRET}@127.0.0.1:1")):
        changes = {"num_retries": 1, "retry_delay_s": 0.01, "proxy": proxy, "cookies": cookies}
        settings = download_settings.model_copy(update=changes)
        sources = [
            replace(make_source(url), note=url, extra={"page": url})
            for url in (urls if proxy is None else [f"{url}{SECRET}" for url in urls])
        ]
        found = download_sources(sources, settings, tmp_path / "out/raw", log)
        rows += [SourceRow(mask_source(source), found[source.key]) for source in sources]
        logged += [repr(settings), settings.model_dump_json()]
    server.close()
    rows.append(invalid_row(BadRow(9, urls[0], f"got url {urls[0]!r}; correct the row")))
    write_sources(tmp_path / "out/sources.parquet", rows)
    assert {"verified", "permanent", "retryable", "invalid"} == {row.download.status.value for row in rows}
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) >= 5
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
    assert [line for line in [*logged, *caplog.messages, *map(repr, rows)] if SECRET in line] == []
