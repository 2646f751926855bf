"""Words and numbers of untrusted text, in linear time: what rewards count and compare."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# NFKC sorts a run of combining marks by insertion, which is quadratic: it sees short pieces only.
_PIECE = re.compile(r"\S{1,64}|\s{1,64}")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180b-\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0001-\U000e0fff]+"
)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2212\u00ad", "-"),
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u00b7\u2219\u22c5\u0387", "\u00b7"),
    }
)

# Each alternative starts with another kind of character and ends without looking back, so no
# character is read more than a few times.
_TOKEN = re.compile(
    r"(?:(?<![^\W_])-)?(?:\d+(?:[.,\u00b7]\d+)*|(?<![^\W_])[.\u00b7]\d+)"
    r"(?:\s?(?:%|percent\b|per cent\b))?"
    r"|[^\W\d_][^\W_]*"
)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_LIST_MARKER = re.compile(r"^[ \t]{0,8}(?:step |\()?\d{1,2}[.):](?=\s)", re.MULTILINE)

_FUNCTION_WORDS = """
    a about above after again against all also although am among an and another any are as at be
    because been before being below between both but by can cannot could did do does doing done
    down during each either else ever every few for from further had has have having he hence
    her here hers him his how however i if in into is it its itself just least less let like may
    me might more most much must my neither no nor not now of off on once one only or other our
    out over own per rather regarding same she should since so some still such than that the
    their them then there therefore these they this those though through thus to together too
    toward towards under until up upon us versus very vs via was we well were what when where
    whereas whether which while who whom whose why will with within without would yet you your s
    t doesn didn isn wasn
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that carry no content of their own; about two in five words of prose."""

PROSE_SHARE = 0.12
"""Of function words; next to no sentence of an abstract has fewer."""


def fold(text: str) -> str:
    """Text for comparison: NFKC, case-folded, invisible characters gone, quotes and minus plain.

    Line ends stay. Marks that combine with no letter (a strike-through) stay as well.
    """
    if not text.isascii():
        pieces = _PIECE.findall(_INVISIBLE.sub("", text))
        text = "".join([_compose(piece) for piece in pieces]).translate(_PLAIN)
    return _INVISIBLE.sub("", text.casefold())


def _compose(piece: str) -> str:
    """NFKC, unless it blows the piece up: one ligature can become 18 characters."""
    composed = unicodedata.normalize("NFKC", piece)
    return composed if len(composed) <= 4 * len(piece) else piece


def tokens(text: str) -> list[str]:
    """The words and numbers of a text, folded, in order; all punctuation is left out.

    Numbers come in one spelling: a decimal point (also for a comma or a middle dot), no thousands
    separators, no zeros at the ends, a percent sign without a space. A word starts with a letter
    ("cd4", "hba1c"). The number of a list item ("1. First") or of a step is no token.
    """
    return list(_tokens(text))


@lru_cache(maxsize=512)  # several rewards read the same thought
def _tokens(text: str) -> tuple[str, ...]:
    found = _TOKEN.findall(_LIST_MARKER.sub("", fold(text)))
    return tuple([token if token[0].isalpha() else _number(token) for token in found])


def is_number(token: str) -> bool:
    """Whether a token of `tokens` is a number."""
    return not token[0].isalpha()


def prose_factor(said: Sequence[str]) -> float:
    """1 for ordinary prose, falling to 0 for a list of keywords: by the share of function words."""
    spoken = [token for token in said if not is_number(token)]
    share = sum(token in FUNCTION_WORDS for token in spoken) / max(1, len(spoken))
    return min(1.0, share / PROSE_SHARE)


def _number(token: str) -> str:
    """One spelling of a number as it stands in a text; strings only, for any number of digits."""
    if token.isdigit() and token[0] != "0":
        return token
    percent = "%" if token[-1] in "%t" else ""
    sign = "-" if token[0] == "-" else ""
    digits = token.removeprefix("-").rstrip("% percnt").replace("\u00b7", ".")
    if _THOUSANDS.fullmatch(digits.partition(".")[0]):
        digits = digits.replace(",", "")
    whole, point, fraction = digits.replace(",", ".").partition(".")
    if point and "." not in fraction:
        fraction = fraction.rstrip("0")
    whole = whole.lstrip("0") or "0"
    return f"{sign}{whole}{'.' if fraction else ''}{fraction}{percent}"


def plain(text: str) -> str:
    """Text for comparing options: folded, single blanks, no punctuation or brackets around it.

    Signs and arrows inside stay, since "K+ up" and "K+ down" may differ in nothing else.
    """
    return " ".join(fold(text).split()).strip(" \t\n.,;:\"'*_`()[]{}")
