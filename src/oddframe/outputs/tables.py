"""The one table renderer: text cells as Markdown, LaTeX, CSV, HTML, or lines for a terminal.

Every table of the package goes through ``TextTable``: those of evaluations and training reports
here, those of ``research``, and those that the command line prints.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\N{CHECK MARK}": r"\checkmark",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text already.

    Attributes:
        title: Heading of the table; may be empty.
        headings: Names of the columns.
        rows: Cells by row, as many as there are headings.
        note: Text below the table; may be empty.
        word_columns: How many leading columns hold words. The columns after them hold numbers and
            are aligned right in Markdown and LaTeX. None: all columns are aligned left.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    word_columns: int | None = None

    def markdown(self) -> str:
        """The table in GitHub's Markdown, without title and note; it ends with a line feed."""
        words = len(self.headings) if self.word_columns is None else self.word_columns
        ruler = ["---"] * words + ["---:"] * (len(self.headings) - words)
        head = "|" + "".join(f" {_markdown(name)} |" if name else " |" for name in self.headings)
        lines = ["| " + " | ".join(map(_markdown, row)) + " |" for row in (ruler, *self.rows)]
        return "\n".join([head, *lines]) + "\n"

    def latex(self, caption: str = "") -> str:
        """A ``table`` environment for the packages booktabs and amssymb.

        Args:
            caption: Its caption; title and note where it is empty.
        """
        words = len(self.headings) if self.word_columns is None else self.word_columns
        columns = "l" * words + "r" * (len(self.headings) - words)
        caption = caption or ". ".join(filter(None, (self.title, self.note)))
        lines = [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{escape_latex(caption)}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            "    \\toprule",
            "    " + " & ".join(map(escape_latex, self.headings)) + r" \\",
            "    \\midrule",
            *("    " + " & ".join(map(escape_latex, row)) + r" \\" for row in self.rows),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Headings and rows as comma-separated values."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([self.headings, *self.rows])
        return file.getvalue()

    def html(
        self,
        css_class: str = "",
        column_classes: Sequence[str] = (),
        row_classes: Sequence[str] = (),
    ) -> Markup:
        """A ``table`` element in a box that scrolls sideways, without title and note.

        Cells are escaped, except those that are ``markupsafe.Markup``.

        Args:
            css_class: Class of the box.
            column_classes: Class of the cells of each column; none: no classes.
            row_classes: Class of each row; none: no classes.
        """
        from oddframe.outputs.pages.templates import macro

        return macro("text_table")(self, css_class, tuple(column_classes), tuple(row_classes))

    def lines(self) -> list[str]:
        """Lines for a terminal: headings and rows, columns two spaces apart."""
        rows = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]


def escape_latex(text: str) -> str:
    """``text`` with LaTeX's special characters, and a few symbols, as commands."""
    return text.translate(_LATEX)


def _markdown(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
