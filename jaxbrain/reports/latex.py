"""A page's tables for a paper: LaTeX with booktabs."""

import re

from jaxbrain.reports.page import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After the end of a row these begin an option of it.
    "[": "{[}",
    "*": "{*}",
} | {c: f"\\{c}" for c in "&%$#_{}"}


def escaped(text) -> str:
    """Text as it stands in LaTeX; what is no UTF-8 as an escape of it.

    Example:
        >>> print(escaped("50 % of a_b"))
        50 \\% of a\\_b
    """
    shown = str(text).encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\s\x00-\x1f]", " ", "".join(_SPECIAL.get(c, c) for c in shown))


def latex(table: Table) -> str:
    """A `table` environment, which needs the package booktabs."""
    right = table.flush_right
    columns = "".join("r" if i in right else "l" for i in range(len(table.header)))
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in (table.header, *table.rows)]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
