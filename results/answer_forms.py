"""Whether a wrong answer holds the right value, only written otherwise than was asked.

    right_in_another_form("about 12.5 %", "0.125", question)   # True: percent for a share
    right_in_another_form("12.9", "0.125", question)           # False: another value

There is one grader, `harness.grader.is_correct`; here an answer that it refused is written anew in other forms, one
step at a time, and each is put to it again. What is set aside: brackets, quotes, markup and closing stops; a lead-in
("The answer is ..."); list separators and labels; decimal commas; units and words around a number; percent for a share
and back (only where answer, target or question speak of percent); too coarse a rounding (within 5% of the value); how
a date is written; true and false for yes and no.
Long answers (over 300 characters) are not searched for a value: among so many words something is always right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from harness.grader import is_correct

LONGEST = 300
COARSE = 0.05
"""How far from the right value a rounded answer may lie, as a share of it, to be called the same value."""

DATES = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%d %B %Y",
    "%d %b %Y",
    "%B %d %Y",
    "%b %d %Y",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
)
WRAPPING = ("[]", "()", "{}", "''", '""', "“”", "<>")
TRUTH = {"true": "yes", "false": "no", "yes": "yes", "no": "no", "y": "yes", "n": "no", "1": "yes", "0": "no"}

_NUMBER = re.compile(
    r"(?<![\w.])-?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?(?!\w|\.\d)", re.IGNORECASE
)
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d{1,3}(?:[. ]\d{3})+|\d+),(\d+)(?![\d.,])")
_PERCENT = re.compile(r"%|\bper ?cent|\bpercentage", re.IGNORECASE)
_LEAD_IN = re.compile(
    r"^(?:.*?\b(?:answer|result|value)\b.*?(?:\bis\b|\bare\b|[:=])|[^:=\d]{2,60}[:=])\s*", re.I | re.S
)
_ROUNDING = re.compile(r"\bround|\bdecimal", re.IGNORECASE)
_MARKUP = re.compile(r"\*\*|__|`+|\\boxed|\\text|\$(?!\d)")
_SCALAR = re.compile(r"(?:np\.)?(?:int|float|str|bool|datetime|Timestamp)[_\d]*\((.*)\)", re.S)
_SEPARATORS = re.compile(r"\s*(?:[,;|\n•]|\s[-–]\s|\band\b|&)\s*")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)


def right_in_another_form(answer: str, target: str, question: str = "") -> bool:
    """Whether `answer`, which is not right as it stands, is right in another form; see the module for what is tried.

    Args:
        answer: What was given; False where the grader takes it as it is.
        target: The right answer.
        question: Question and guidelines; their numbers are nobody's answer, and they may speak of percent.
    """
    if not answer.strip() or not target.strip() or len(answer) > LONGEST or is_correct(answer, target):
        return False
    return any(
        (is_correct(each, target) and _comparable(each, target))
        or _same_date(each, target)
        or _same_truth(each, target)
        or _same_items(each, target)
        or _same_number(each, target, question)
        for each in _rewritten(_bare(answer))
    )


def same_value(text: str, target: str) -> bool:
    """Whether a displayed line is the right answer and nothing else: exactly as strict about the rest of the line.

    The grader itself would take a whole row of a table for the first number in it.
    """
    shown = _bare(text)
    if not shown or len(shown) > max(LONGEST, 2 * len(target)):
        return False
    if _NUMBER.fullmatch(_bare(target)):
        return bool(_NUMBER.fullmatch(shown)) and is_correct(shown, target)
    return _folded(shown) == _folded(_bare(target)) or _same_items(shown, target)


def _bare(text: str) -> str:
    """The text without what only wraps it: blanks, brackets, quotes, markup, a constructor, a closing stop."""
    text = _MARKUP.sub("", text).strip()
    while text:
        before = text
        if scalar := _SCALAR.fullmatch(text):
            text = scalar[1]
        text = text.rstrip(".!").strip() if not text.endswith("...") else text
        if len(text) > 1 and text[0] + text[-1] in WRAPPING and not {text[0], text[-1]} & set(text[1:-1]):
            text = text[1:-1].strip()
        if text == before:
            break
    return text


def _rewritten(plain: str) -> Iterator[str]:
    """The answer in other words: itself without its wrapping, without its lead-in, with a decimal point."""
    yield plain
    if lead := _LEAD_IN.match(plain):
        yield _bare(plain[lead.end() :])
    if _DECIMAL_COMMA.search(plain):
        yield _with_points(plain)


def _comparable(answer: str, target: str) -> bool:
    """Whether the grader's word on a rewritten answer counts: it would take the first number of any text."""
    return bool(_NUMBER.fullmatch(_bare(answer))) or not _NUMBER.fullmatch(_bare(target))


def _with_points(text: str) -> str:
    return _DECIMAL_COMMA.sub(lambda found: f"{re.sub('[. ]', '', found[1])}.{found[2]}", text)


def _same_number(plain: str, target: str, question: str) -> bool:
    """Whether the one number of the answer that the question does not name itself is the right one, or was rounded."""
    right = _decimal(_bare(target).removesuffix("%"))
    if right is None:
        return False
    finer = _ROUNDING.search(question) is not None
    named = {_decimal(found) for found in _NUMBER.findall(question)}
    values = {value for found in _NUMBER.findall(plain) if (value := _decimal(found)) is not None}
    told = values - named or values
    if len(told) != 1:
        return False
    (value,) = told
    scales = [Decimal(1)]
    if any(_PERCENT.search(each) for each in (plain, target, question)):
        scales += [Decimal(100), Decimal("0.01")]
    scaled = [value * scale for scale in scales]
    return any(is_correct(f"{each:f}", f"{right:f}") or _rounded(each, right, finer) for each in scaled)


def _rounded(given: Decimal, right: Decimal, finer: bool) -> bool:
    """Whether the coarser of two numbers is the other, rounded, and still close to it; `finer` lets the answer be the
    longer one, as it may be where the question asked for rounding."""
    given, right = abs(given), abs(right)  # the grader takes no notice of signs either
    if not given or not right or (_places(given) > _places(right) and not finer):
        return False
    places = min(_places(given), _places(right))
    near = math.isclose(given, right, rel_tol=COARSE)
    return near and abs(given - right) <= Decimal(5).scaleb(-places - 1)


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.replace(",", "").strip().lstrip("$€£"))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 30 else None


def _same_items(plain: str, target: str) -> bool:
    """Whether the answer is the target's list with other separators, brackets, quotes, or a label before each item."""
    items = [item for item in map(_bare, _SEPARATORS.split(plain)) if item]
    wanted = [item for item in map(_bare, _SEPARATORS.split(_bare(target))) if item]
    if len(items) < 2 or len(items) != len(wanted):
        return False
    unlabelled = [_bare(item.rpartition(":")[2]) for item in items]
    return any(sorted(map(_folded, each)) == sorted(map(_folded, wanted)) for each in (items, unlabelled))


def _same_date(plain: str, target: str) -> bool:
    right = set(_dates(target))
    return bool(right) and not right.isdisjoint(_dates(plain))


def _dates(text: str) -> Iterator[date]:
    """Every day that the text can be read as; day and month may stand in either order."""
    tidy = " ".join(_ORDINAL.sub("", _bare(text)).replace(",", " ").split())
    for form in DATES:
        try:
            yield datetime.strptime(tidy, form).date()
        except ValueError:
            continue


def _same_truth(plain: str, target: str) -> bool:
    """Whether both are yes or no in some way; a number counts as one only against a word."""
    said, right = TRUTH.get(plain.lower()), TRUTH.get(_bare(target).lower())
    return said is not None and said == right and not _bare(target).isdigit()


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
