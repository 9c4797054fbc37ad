import re
from importlib.resources import files
from pathlib import Path

from lia_model.serving.http.page_files import PAGE_POLICY
from tests.lia_model.serving.service import Service

FOLDER = Path(str(files("lia_model.serving.page")))


def test_the_page_comes_without_a_token_and_nothing_else_does(tmp_path):
    service = Service(tmp_path, token="s3cret")
    page = service.ask("GET", "/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name in re.findall(r'(?:src|href)="(/page/[^"]+)"', page.text):
        assert service.ask("GET", name).status_code == 200
        assert service.ask("HEAD", name).content == b""
    assert service.ask("GET", "/page/__init__.py").status_code == 401
    assert service.ask("GET", "/v1/models").status_code == 401


def test_the_policy_allows_scripts_of_this_server_alone_and_the_page_needs_no_more(tmp_path):
    service = Service(tmp_path)
    assert service.ask("GET", "/").headers["content-security-policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    assert "script-src 'self';" in PAGE_POLICY
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=|<style", html)
    for path in FOLDER.iterdir():
        if path.suffix in (".html", ".css", ".js"):
            others = re.findall(r"https?://[^\s\"']+", path.read_text())
            assert set(others) <= {"http://www.w3.org/2000/svg"}


def test_every_module_that_a_module_imports_exists():
    for path in FOLDER.glob("*.js"):
        for name in re.findall(r'from "/page/([^"]+)"', path.read_text()):
            assert (FOLDER / name).is_file(), f"{path.name} imports {name}"
