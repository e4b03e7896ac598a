"""The frame that every report page has: head, security policy, menu, data, scripts, and the file itself.

The policy admits the scripts of the page, by their hashes, and no request at all. What the sections say, and which
there are, is written elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from trading_runtime.backtest.report.markup import embedded_json
from trading_runtime.core.errors import OutputError


def page_text(
    *,
    title: str,
    styles: Sequence[str],
    menu: Mapping[str, str],
    sections: Sequence[str],
    data: Any,
    scripts: Sequence[str],
    licence: str | None = None,
) -> str:
    """Return the whole page. ``title`` is HTML; ``menu`` maps ids of sections to words, ``data`` is what the scripts
    draw, ``licence`` belongs to one of them. Empty sections are left out.
    """
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=False)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>",
            *[f"<style>{style}</style>" for style in styles],
            "</head>",
            "<body>",
            _top(menu),
            '<main id="main">',
            *[section for section in sections if section],
            "</main>",
            f'<script type="application/json" id="data">{embedded_json(data)}</script>',
            *([] if licence is None else [f"<!--\n{escape(licence, quote=False)}\n-->"]),
            *[f"<script>{script}</script>" for script in scripts],
            "</body>",
            "</html>",
            "",
        ]
    )


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all; raises OutputError when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from error


@cache
def asset(name: str, package: str = "trading_runtime.backtest") -> str:
    """Return a file of a package's folder ``assets`` as text."""
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")


def _top(menu: Mapping[str, str]) -> str:
    links = "".join(f'<li><a href="#{key}">{word}</a></li>' for key, word in menu.items())
    return f"""<a class="skip" href="#main">Skip to the result</a>
<header class="top">
<nav aria-label="Sections"><ul>{links}</ul></nav>
<button type="button" id="theme" class="quiet" hidden>Dark</button>
</header>"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
