"""The data card: a README.md whose YAML tells the Hub what is where, with this set's own figures.

    text = card(Facts(name="notebook traces", counts=publication.counts, ...))

Figures come from the run: nothing here is written by hand but what the columns mean. The YAML is checked by
huggingface_hub and datasets themselves before the text is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from harness.prompts import render
from pipeline.publishing.folder import DEFAULT, NOTEBOOKS, shard_pattern

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
SPDX = {
    "apache-2.0": "apache-2.0",
    "apache 2.0": "apache-2.0",
    "mit": "mit",
    "cc0: public domain": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0",
    "cc-by-4.0": "cc-by-4.0",
    "attribution 4.0 international (cc by 4.0)": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
}


class CardError(ValueError):
    """A card that the Hub would refuse; the message says why."""


@dataclass(frozen=True)
class Facts:
    """What a card tells. `counts`: rows by (configuration, split); `funnel`: a row of figures a stage;
    `left_out`: rows that have no such variant, by reason; `gates`: what the rows passed, in words."""

    name: str
    counts: Mapping[tuple[str, str], int]
    licences: Sequence[str] = ()
    teachers: Mapping[str, int] = field(default_factory=dict)
    executors: Mapping[str, int] = field(default_factory=dict)
    answer_kinds: Mapping[str, int] = field(default_factory=dict)
    data_sets: Mapping[str, int] = field(default_factory=dict)
    questions: int = 0
    notebooks: int = 0
    funnel: Sequence[Mapping[str, Any]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    gates: Sequence[str] = ()


def card(facts: Facts) -> str:
    """The text of README.md. Raises CardError where the Hub's own checks refuse it."""
    counts = sorted(facts.counts.items(), key=lambda item: (item[0][0] != DEFAULT, item[0]))
    top = sorted(facts.data_sets.items(), key=lambda item: (-item[1], item[0]))[:10]
    body = render(__name__.rpartition(".")[0], "card", facts=facts, counts=counts, top=top, notebooks_config=NOTEBOOKS)
    text = f"---\n{yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True)}---\n\n{body}\n"
    check(text)
    return text


def metadata(facts: Facts) -> dict[str, Any]:
    """The YAML of the card."""
    configs: dict[str, list[dict[str, str]]] = {}
    for config, split in sorted(facts.counts, key=lambda key: (key[0] != DEFAULT, key)):
        configs.setdefault(config, []).append({"split": split, "path": shard_pattern(config, split)})
    rows = sum(facts.counts.values())
    licences = sorted({SPDX.get(licence.casefold(), "other") for licence in facts.licences}) or ["unknown"]
    return {
        "pretty_name": facts.name,
        "language": ["en"],
        "license": licences[0] if len(licences) == 1 else licences,
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["agent", "jupyter", "tool-use", "data-analysis", "code"],
        "size_categories": [next((name for bound, name in SIZES if rows < bound), "1M<n<10M")],
        "configs": [
            {"config_name": config, **({"default": True} if config == DEFAULT else {}), "data_files": files}
            for config, files in configs.items()
        ],
    }


def check(text: str) -> None:
    """What huggingface_hub and datasets say of a card, offline. Raises CardError."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    try:
        data = DatasetCard(text, ignore_metadata_errors=False).data
        configs = MetadataConfigs.from_dataset_card_data(data)
    except ValueError as error:
        raise CardError(f"the data card would be refused: {error}") from None
    if not configs:
        raise CardError("the data card names no configuration, so load_dataset would guess.")
