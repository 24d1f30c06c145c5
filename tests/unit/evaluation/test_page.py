"""Pages for people: text is text, they ask nothing of the net, and a click sorts by value."""

import re
from pathlib import Path

import jinja2
import pytest

import tlzoo
from tlzoo.evaluation.page import Cell, Table, render

PACKAGE = Path(tlzoo.__file__).parent
HOSTILE = '<script src="http://x.org/y.js"> & \'"'
PAGES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.html")
    if '{% extends "evaluation/page.html" %}' in path.read_text(encoding="utf-8")
)


def ranking(**changes):
    table = Table(["rank", HOSTILE], [[Cell("1", "1", "number"), Cell(HOSTILE, HOSTILE, "bad", HOSTILE)]])
    content = {
        "title": HOSTILE,
        "summary": [HOSTILE],
        "figures": ["data:image/png;base64,AA"],
        "table": table,
    }
    return render("screen/ranking.html", **{**content, **changes})


def test_there_is_one_base_for_the_pages_of_studies_and_of_screenings():
    assert PAGES == ["screen/ranking.html", "study/report/study.html"]
    with_style = [path for path in PACKAGE.rglob("*.html") if "<style>" in path.read_text(encoding="utf-8")]
    assert [path.name for path in with_style] == ["page.html"]


def test_text_is_escaped():
    text = ranking()
    assert text.count("<script") == 1, "but for the one that sorts"
    assert text.count("&lt;script src=&#34;http://x.org/y.js&#34;&gt; &amp; &#39;&#34;") == 2 + 1 + 1 + 3


def test_pages_ask_nothing_of_the_net():
    text = ranking(title="a", summary=[], table=Table([], []))
    assert not re.findall(r"(?:src|href)=(?!\"data:)|https?:|@import|url\(", text)
    assert "default-src 'none'" in text


def test_a_table_is_sorted_by_what_its_cells_are_worth():
    table = Table(["MAE"], [[Cell("2.8e+05", "280000.0", "number")], [Cell("–")]], "Errors")
    text = ranking(table=table)
    assert '<caption class="soft">Errors</caption>' in text
    assert '<th scope="col"><button type="button">MAE</button></th>' in text
    assert '<td class="number" data-value="280000.0">2.8e+05</td>' in text
    assert '<td data-value="">–</td>' in text
    assert "<caption" not in ranking()


def test_what_a_template_wants_must_be_there():
    with pytest.raises(jinja2.UndefinedError, match="'summary' is undefined"):
        render("screen/ranking.html", title="a", figures=[], table=Table([], []))
