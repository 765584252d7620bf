"""Question families of the parcel-tariffs world at level *primer*: columns are in backticks, a cell or two each.

A family is a draw (`parcel_draws.py`: slots, oracle, solution), its wordings, and guidelines. Add one by writing a draw
and listing it in FAMILIES; `check.py` proves it in a real kernel.
"""

from __future__ import annotations

from harness.records import AnswerKind
from pipeline.worlds.parcel_draws import (
    count_above,
    count_either,
    count_where,
    distinct_where,
    higher_mean,
    largest_where,
    mean_where,
    median_where,
    parcel_of_largest,
    rarest,
    rules_that_apply,
    share_where,
    spread,
    sum_in_region,
    sum_where,
    surcharge_total,
    top_by_total,
    top_three,
)
from pipeline.worlds.world import DrawFunction, Family

WHOLE = "Answer with a whole number."
TWO_DECIMALS = "Answer with a number rounded to 2 decimals."
NAME = "Answer with the name alone."

# Wordings are frames times the words for what is asked. The rephrased frames never occur in training; the first is for
# development, the second for the held-out set, so that tuning on one says nothing about the other.
OF_A_VALUE = (
    'What is the {what} `{{n}}` of the parcels whose `{{c}}` is "{{v}}"?',
    'Give the {what} `{{n}}` for `{{c}}` "{{v}}".',
    'Find the {what} `{{n}}` over all parcels with `{{c}}` "{{v}}".',
    'Among parcels with `{{c}}` "{{v}}", what is the {what} `{{n}}`?',
    'For `{{c}}` "{{v}}", compute the {what} `{{n}}` of the parcels.',
    'Look at the parcels whose `{{c}}` is "{{v}}" and tell me the {what} `{{n}}`.',
)
OF_A_VALUE_REPHRASED = (
    'Take all parcels with `{{c}}` "{{v}}". What is the {what} `{{n}}` of these?',
    'Please tell me, for the parcels whose `{{c}}` is "{{v}}", the {what} `{{n}}`.',
)
COUNTS = (
    "How many parcels have {which}?",
    "Count the parcels with {which}.",
    "Give the number of parcels with {which}.",
    "Of all parcels, how many have {which}?",
    "Find how many parcels there are with {which}.",
)
COUNTS_REPHRASED = ("Tell me how many of the parcels have {which}.", "Look at the parcels. How many have {which}?")
BY_GROUP = (
    "Which `{{c}}` has {most}?",
    "Name the `{{c}}` with {most}.",
    "Find the `{{c}}` that has {most}.",
    "Among all `{{c}}`, which one has {most}?",
    "Tell me which `{{c}}` has {most}.",
)
BY_GROUP_REPHRASED = ("Give the name of the `{{c}}` with {most}.", "Look at every `{{c}}`: which has {most}?")


def _frames(frames: tuple[str, ...], **words: tuple[str, ...]) -> tuple[str, ...]:
    ((slot, choices),) = words.items()
    return tuple(frame.format(**{slot: choice}) for frame in frames for choice in choices)


def _both(frames: tuple[str, str], **words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return _frames(frames[:1], **words), _frames(frames[1:], **words)


def _of_a_value(draw: DrawFunction, guidelines: str, *what: str) -> Family:
    rephrased = _both(OF_A_VALUE_REPHRASED, what=what)
    return Family(draw.__name__, "number", guidelines, _frames(OF_A_VALUE, what=what), rephrased, draw)


def _count(draw: DrawFunction, *which: str) -> Family:
    rephrased = _both(COUNTS_REPHRASED, which=which)
    return Family(draw.__name__, "number", WHOLE, _frames(COUNTS, which=which), rephrased, draw)


def _by_group(draw: DrawFunction, *most: str) -> Family:
    rephrased = _both(BY_GROUP_REPHRASED, most=most)
    return Family(draw.__name__, "text", NAME, _frames(BY_GROUP, most=most), rephrased, draw)


def _own(
    draw: DrawFunction, kind: AnswerKind, guidelines: str, wordings: tuple[str, ...], rephrased: tuple[str, str]
) -> Family:
    return Family(draw.__name__, kind, guidelines, wordings, ((rephrased[0],), (rephrased[1],)), draw)


FAMILIES: tuple[Family, ...] = (
    _count(count_where, '`{c}` "{v}"', 'a `{c}` of "{v}"'),
    _count(count_either, '`{c}` "{v}" or `{d}` "{w}"', 'either `{c}` "{v}" or `{d}` "{w}"'),
    _count(count_above, '`{c}` "{v}" and `{n}` above {b}', '`{c}` "{v}" and `{n}` greater than {b}'),
    _of_a_value(sum_where, TWO_DECIMALS, "total", "summed"),
    _of_a_value(mean_where, TWO_DECIMALS + ' If no parcel matches, answer "Not Applicable".', "average", "mean"),
    _of_a_value(median_where, TWO_DECIMALS, "median", "middle"),
    _of_a_value(largest_where, TWO_DECIMALS, "largest", "maximum"),
    _of_a_value(spread, TWO_DECIMALS, "range (largest less smallest) of", "spread (maximum less minimum) of"),
    _of_a_value(distinct_where, WHOLE, "number of different", "number of distinct"),
    _by_group(top_by_total, "the highest total `{n}`", "the highest summed `{n}`"),
    _by_group(rarest, "the fewest parcels", "the lowest number of parcels"),
    _own(
        share_where,
        "number",
        "Answer with a percentage rounded to 1 decimal, without the sign.",
        (
            'What percentage of parcels have `{c}` "{v}"?',
            'Give the percentage of all parcels with `{c}` "{v}".',
            'Which share of the parcels has `{c}` "{v}", as a percentage?',
            'Of all parcels, what percentage has a `{c}` of "{v}"?',
        ),
        ('Find the percentage of the parcels whose `{c}` is "{v}".', 'As a percentage, how many have `{c}` "{v}"?'),
    ),
    _own(
        top_three,
        "list",
        "Answer with three names separated by commas, the largest first.",
        (
            "Which three `{c}` have the highest total `{n}`?",
            "List the top three `{c}` by total `{n}`.",
            "Name the three `{c}` with the highest summed `{n}`.",
            "Find the top three `{c}` by summed `{n}`.",
        ),
        (
            "Tell me the three `{c}` that have the highest total `{n}`.",
            "By total `{n}`, which are the top three `{c}`?",
        ),
    ),
    _own(
        parcel_of_largest,
        "text",
        "Answer with the identifier alone.",
        (
            'Which `{i}` has the largest `{n}` among parcels whose `{c}` is "{v}"?',
            'Give the `{i}` of the parcel with the largest `{n}` for `{c}` "{v}".',
            'Among parcels with `{c}` "{v}", find the `{i}` with the maximum `{n}`.',
            'For `{c}` "{v}", name the `{i}` of the parcel with the maximum `{n}`.',
        ),
        (
            'Find the `{i}` of the parcel with `{c}` "{v}" that has the largest `{n}`.',
            'Look at the parcels with `{c}` "{v}": which `{i}` has the largest `{n}`?',
        ),
    ),
    _own(
        higher_mean,
        "text",
        NAME,
        (
            'Which has the higher average `{n}`: `{c}` "{v}" or "{w}"?',
            'Of `{c}` "{v}" and "{w}", which one has the higher mean `{n}`?',
            'Name the `{c}` with the higher average `{n}`, "{v}" or "{w}".',
            'By mean `{n}`, which `{c}` is higher: "{v}" or "{w}"?',
        ),
        (
            'Tell me which `{c}` has the higher average `{n}`, "{v}" or "{w}".',
            'Look at `{c}` "{v}" and "{w}": which has the higher mean `{n}`?',
        ),
    ),
    _own(
        rules_that_apply,
        "number",
        WHOLE + " Null means any.",
        (
            'How many tariff rules apply to `{c}` "{v}"?',
            'Count the tariff rules that apply to `{c}` "{v}".',
            'For `{c}` "{v}", how many rules of the tariffs apply?',
            'Give the number of tariff rules for `{c}` "{v}".',
        ),
        (
            'Find how many tariff rules there are for `{c}` "{v}".',
            'Tell me the number of rules that apply to `{c}` "{v}".',
        ),
    ),
    _own(
        surcharge_total,
        "number",
        TWO_DECIMALS + " Null means any.",
        (
            'What is the total `{n}` of all tariff rules that apply to `{c}` "{v}"?',
            'Give the summed `{n}` of the tariff rules for `{c}` "{v}".',
            'For `{c}` "{v}", find the total `{n}` of the rules that apply.',
            'Add up `{n}` over the tariff rules that apply to `{c}` "{v}".',
        ),
        (
            'Find the total `{n}` over all tariff rules for `{c}` "{v}".',
            'Tell me what the `{n}` of the tariff rules for `{c}` "{v}" add up to.',
        ),
    ),
    _own(
        sum_in_region,
        "number",
        TWO_DECIMALS,
        (
            'What is the total `{n}` of the parcels whose `{d}` lies in `{c}` "{v}"?',
            'Join the depots by `{d}` and give the total `{n}` for `{c}` "{v}".',
            'For depots (`{d}`) in `{c}` "{v}", find the summed `{n}` of the parcels.',
            'Add up `{n}` over all parcels from a `{d}` in `{c}` "{v}".',
        ),
        (
            'Look at each `{d}` in `{c}` "{v}" and give the total `{n}` of the parcels.',
            'Find the total `{n}` of the parcels from any `{d}` that lies in `{c}` "{v}".',
        ),
    ),
)
