r"""Text on its way out: what steers a terminal, hides, turns the direction or runs as a formula is shown, not obeyed.

Names, warnings and messages come from files that somebody else may have written. Whatever writes text to a terminal, a table, a
log or a file for others takes it through one of these functions. What is harmful is written as Python writes it, '\x1b' or
'\u202e': nothing is dropped. Letters of all scripts, accents, emoji and variation selectors stay as they are.

Harmful are Unicode's categories Cc, Cf, Cs, Zl and Zp and letters without ink; but not the signs of Cf that have ink (U+0600 and
such), and not joiners (U+200C, U+200D) after a letter or picture that can be joined. So are '::' at the beginning of a line
and '##name[' anywhere: services that build and test take orders so. Of blanks only the tab changes, to a blank.

Sources: Unicode 15 (general categories, default-ignorable code points); https://owasp.org/www-community/attacks/CSV_Injection;
https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

import re

_HARMFUL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U00013440\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_STRAY_JOINER = "(?<![\u0590-\u1fff\u2070-\ud7ff\ue000-\U0010ffff])[\u200c\u200d]"  # 'be<joiner>rt' looks like 'bert'
_ORDER = f"^[^\\S\n{_HARMFUL}]*::"
_MARK = r"##(?=\w*\[)"
# Patterns, not compiled ones: `re` keeps what it has compiled, and 25 ms would be a tenth of what `--help` takes.
_IN_TEXT = f"[\n{_HARMFUL}]|{_STRAY_JOINER}|{_ORDER}|{_MARK}"
_IN_LINES = f"(?m)[{_HARMFUL}]|{_STRAY_JOINER}|{_ORDER}|{_MARK}"
_PERHAPS_IN_JSON = f"[{_HARMFUL}\u200c\u200d#]"  # one set of characters is found five times as fast
_IN_JSON = f"[{_HARMFUL}]|{_STRAY_JOINER}|{_MARK}"
_NAMED = {"\n": r"\n", "\r": r"\r"}

_NUMBER = r"[^\S\n]*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[^\S\n]*"
_SIGN = "[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
# Semicolons and line feeds begin a cell where a spreadsheet takes the semicolon for the separator, as in many countries.
_FORMULA = rf"(\A)(?!{_NUMBER}\Z)(?=[\s\"']*{_SIGN})|([;\n])(?!{_NUMBER}(?:[;\n]|\Z))(?=(?:[^\S\n]|[\"'])*{_SIGN})"


def visible(text: str) -> str:
    """Write text on one line; a line feed, too, becomes an escape, so that nobody can forge a second line."""
    return text if _is_plain(text) else re.sub(_IN_TEXT, _escape, text.replace("\t", " "))


def visible_lines(text: str) -> str:
    """Write text as `visible` does, but keep its line feeds."""
    return text if _is_plain(text.replace("\n", "")) else re.sub(_IN_LINES, _escape, text.replace("\t", " "))


def spreadsheet_cell(text: str) -> str:
    """Write lines that no spreadsheet runs: an apostrophe stands before what would begin a formula; numbers stay.

    Blanks, quotation marks and apostrophes may stand before the sign of a formula, which may be as wide as a Chinese letter.
    """
    if text.isalnum() and text.isascii():
        return text
    return re.sub(_FORMULA, r"\1\2'", visible_lines(text))


def json_text(text: str) -> str:
    r"""Escape what is harmful in JSON's strings as \uXXXX: a program that parses it gets the very same strings."""
    return re.sub(_PERHAPS_IN_JSON, _escape_in_json, text)


def _is_plain(text: str) -> bool:
    """Tell whether text is harmless at a glance, as most of it is: ten times as fast as the search."""
    return text.isascii() and text.isprintable() and "::" not in text and "##" not in text


def _escape(match: re.Match[str]) -> str:
    part = match[0]
    if part.endswith("::"):
        return part.replace("::", r"\x3a:")
    if part == "##":
        return r"#\x23"
    code = ord(part)
    return _NAMED.get(part) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _escape_in_json(match: re.Match[str]) -> str:
    if not re.compile(_IN_JSON).match(match.string, match.start()):
        return match[0]
    # JSON's escapes are units of UTF-16, and half a pair passes as it is.
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[start : start + 2].hex()}" for start in range(0, len(units), 2))
