from lia_model.evaluation.card.page import card_page
from lia_model.evaluation.page_pictures import reconstruction_strips
from tests.lia_model.evaluation.made_up_report import make_rows, save_pictures
from tests.parsed_page import ParsedPage


def test_the_page_holds_the_sections_and_opens_offline(facts, tmp_path):
    rows = make_rows()
    save_pictures(rows, tmp_path)
    page = ParsedPage(card_page(facts, reconstruction_strips(facts.report, rows, tmp_path)))
    assert list(page.tables) == ["Means over clips, reconstruction", "Means over clips, cross-identity"]
    assert list(page.figures) == [f"{clip}-whole" for clip in "acb"]
    assert all(str(address).startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert "CC <BY> *4.0* (2 videos)" in page.text
