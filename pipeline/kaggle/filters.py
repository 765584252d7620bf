"""Which data sets are used: judged by licence, kind and size as the tables tell them, before anything is downloaded.

    reason = refusal(version, Rules())        # None: it may be used; else a short phrase that is the same for all alike

Kinds that are refused: checkpoints and embeddings of models, whatever is about large language models, large corpora of
pictures, sound and film. They are told by the words in `kinds.yaml`, whole words only: "bert" does not refuse "Albert's
beer". A licence that is not on the list is refused, and so is one that nobody knows, unless
`unknown_licence` says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pipeline.kaggle.join import Version

GB = 1_000_000_000
LICENCES = (
    "CC0: Public Domain",
    "CC BY 4.0",
    "Attribution 4.0 International (CC BY 4.0)",
    "Attribution 3.0 Unported (CC BY 3.0)",
    "Attribution 3.0 IGO (CC BY 3.0 IGO)",
    "CC BY-SA 3.0",
    "CC BY-SA 4.0",
    "ODC Attribution License (ODC-By)",
    "ODC Public Domain Dedication and Licence (PDDL)",
    "Database: Open Database, Contents: Database Contents",
    "Database: Open Database, Contents: © Original Authors",
    "Community Data License Agreement - Permissive - Version 1.0",
    "Community Data License Agreement - Sharing - Version 1.0",
    "U.S. Government Works",
    "EU ODP Legal Notice",
    "Apache 2.0",
    "MIT",
    "BSD-3-Clause",
    "World Bank Dataset Terms of Use",
)
UNKNOWN_LICENCES = frozenset({"", "unknown", "other (specified in description)", "data files © original authors"})
LLM, MODEL, MEDIA = "about language models", "model weights", "large pictures, sound or film"
MODEL_SIZE = re.compile(r"(?:[12378]|1[34]|3[0-4]|6[57]|7[02]|405)b")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


@dataclass(frozen=True)
class Rules:
    """What may be used. Sizes are those of the download. `licences`: their names in Meta Kaggle, in any case.

    `media_mb`: from this size on a data set that seems to be pictures, sound or film is refused.
    """

    licences: tuple[str, ...] = LICENCES
    unknown_licence: bool = False
    unknown_size: bool = False
    max_gb: float = 10.0
    media_mb: float = 200.0


def refusal(version: Version, rules: Rules) -> str | None:
    """Why a data set is not used, or None."""
    return _licence_refusal(version.licence, rules) or _kind_refusal(version, rules) or _size_refusal(version, rules)


def _licence_refusal(licence: str | None, rules: Rules) -> str | None:
    name = (licence or "").strip().casefold()
    if name in {allowed.casefold() for allowed in rules.licences}:
        return None
    if name in UNKNOWN_LICENCES:
        return None if rules.unknown_licence else "licence unknown"
    return "licence not allowed"


def _kind_refusal(version: Version, rules: Rules) -> str | None:
    kinds, phrases = _kinds()
    text = " ".join([version.slug or "", version.title or "", version.subtitle or "", *version.tags]).casefold()
    words, spaced = _words(text), " ".join(re.split(r"[\W_]+", text))
    if words & kinds[LLM] or any(MODEL_SIZE.fullmatch(word) for word in words):
        return LLM
    if words & kinds[MODEL] or any(phrase in spaced for phrase in phrases):
        return MODEL
    large = version.compressed is None or version.compressed > rules.media_mb * 1e6
    return MEDIA if large and words & kinds[MEDIA] else None


@cache
def _kinds() -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """The words of each kind, and the phrases that tell models."""
    import yaml

    read = yaml.safe_load(files("pipeline.kaggle").joinpath("kinds.yaml").read_text(encoding="utf-8"))
    return {kind: frozenset(read[kind].split()) for kind in (LLM, MODEL, MEDIA)}, tuple(read["model phrases"])


def _size_refusal(version: Version, rules: Rules) -> str | None:
    size = version.compressed if version.compressed is not None else version.uncompressed
    if size is None:
        return None if rules.unknown_size else "size unknown"
    largest = max(version.compressed or 0, version.uncompressed or 0)
    return "too large" if largest > rules.max_gb * GB else None


def _words(text: str) -> set[str]:
    """The words of a text in lower case, those with hyphens also in their parts."""
    found = set()
    for word in _WORD.findall(text):
        found |= {word, *word.split("-")}
    return found
