"""Tables of text in every form."""

from __future__ import annotations

import csv
import io

from markupsafe import Markup

from oddframe.outputs.pages.templates import TEMPLATES
from oddframe.outputs.text import TextTable

text_table = TEMPLATES.get_template("macros.html").module.text_table
TABLE = TextTable(
    "Seeds",
    ("", "seed", "AUC"),
    (("a|b", "1", "91.2 ± 0.3"), ("50 %", "22", "<b>")),
    "A note.",
    word_columns=1,
)


def test_markdown_escapes_bars_and_aligns_numbers_to_the_right() -> None:
    assert TABLE.markdown() == (
        "| | seed | AUC |\n| --- | ---: | ---: |\n| a\\|b | 1 | 91.2 ± 0.3 |\n| 50 % | 22 | <b> |\n"
    )
    assert "| --- | --- |\n" in TextTable("", ("a", "b"), ()).markdown()


def test_latex_escapes_and_has_a_caption() -> None:
    text = TABLE.latex()
    assert "\\caption{Seeds. A note.}" in text
    assert "\\begin{tabular}{lrr}" in text
    assert "a|b & 1 & 91.2 $\\pm$ 0.3 \\\\" in text
    assert "50 \\% & 22 & <b> \\\\" in text
    assert "\\caption{Other}" in TABLE.latex("Other")


def test_csv_is_read_back() -> None:
    assert list(csv.reader(io.StringIO(TABLE.csv()))) == [
        list(TABLE.headings),
        *map(list, TABLE.rows),
    ]


def test_html_escapes_text_and_leaves_markup() -> None:
    page = text_table(TABLE, "dense", ("", "published", ""), ("whole", ""))
    assert "<td>&lt;b&gt;</td>" in page
    assert '<td class="published">1</td>' in page
    assert '<tr class="whole">' in page
    assert "wide-table dense" in page
    assert "<i>x</i>" in text_table(TextTable("", ("a",), ((Markup("<i>x</i>"),),)))


def test_a_table_of_more_than_three_columns_says_that_it_scrolls() -> None:
    assert "swipe it sideways" not in text_table(TABLE)
    assert "swipe it sideways" in text_table(TextTable("", ("a", "b", "c", "d"), ()))
