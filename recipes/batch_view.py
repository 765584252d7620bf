"""What a trainer is really given: its own batches, token by token, with what bears the loss and what does not.

    for batch in first_batches(["--config", "recipes/configs/tiny.yaml", "--training_set", ..., ...], number=1):
        for row in batch: row.pieces(decode)

The trainer of `recipes/sft.py` is made as for training, with its rows, template, collator and sampler; only its model
is a shrunken random one, since no weight is needed to look at a batch. `dabstep show-batch` prints it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

State = Literal["trained", "given", "padding"]
IGNORED = -100


@dataclass(frozen=True)
class BatchRow:
    """One row of a batch: its token ids, each one's state, and where conversations begin (several where packed)."""

    ids: tuple[int, ...]
    states: tuple[State, ...]
    starts: tuple[int, ...]

    def pieces(self, decode: Any) -> Iterator[tuple[State, int, str]]:
        """(state, number of tokens, text) of each stretch of tokens in one state and one conversation."""
        conversation = [sum(start <= place for start in self.starts) for place in range(len(self.ids))]
        places = range(len(self.ids))
        for (state, _), group in groupby(places, key=lambda place: (self.states[place], conversation[place])):
            stretch = [self.ids[place] for place in group]
            yield state, len(stretch), decode(stretch)

    def count(self, state: State) -> int:
        """How many of its tokens are in `state`."""
        return self.states.count(state)


@dataclass(frozen=True)
class Batches:
    """The first batches of a run and the tokenizer's `decode` for them."""

    batches: tuple[tuple[BatchRow, ...], ...]
    decode: Any


def first_batches(arguments: Sequence[str], number: int = 1) -> Batches:
    """The first `number` batches of the run that `recipes/sft.py ARGUMENTS` would be, on this machine's CPU.

    Nothing is written: the output folder is a temporary one. Raises RecipeError as the recipe does.
    """
    from recipes.sft import make_trainer, parse

    with tempfile.TemporaryDirectory() as folder:
        here = ["--output_dir", folder, "--use_cpu", "true", "--report_to", "none", "--dataloader_pin_memory", "false"]
        recipe, args, model_config = parse([*arguments, *here])
        trainer = make_trainer(recipe, args, model_config, _stand_in(model_config))
        batches = tuple(tuple(_rows(batch)) for batch in islice(trainer.get_train_dataloader(), number))
        tokenizer: Any = trainer.processing_class
    return Batches(batches, lambda ids: tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _stand_in(model_config: Any) -> PreTrainedModel:
    """A shrunken random model of the named one's architecture; of Qwen3's where only a tokenizer is there."""
    from transformers import AutoConfig, AutoTokenizer, Qwen3Config

    from recipes.shrunken import shrunken

    name = model_config.model_name_or_path
    if name is None:
        raise RecipeError("no tokenizer to show. Give a model's or a tokenizer's folder by --model_name_or_path.")
    try:
        vocabulary = len(AutoTokenizer.from_pretrained(name, revision=model_config.model_revision))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{name} has no tokenizer that can be read: {str(error).splitlines()[0]}") from None
    folder = Path(name)
    alone = folder.is_dir() and not (folder / "config.json").is_file()
    config = Qwen3Config() if alone else AutoConfig.from_pretrained(name, revision=model_config.model_revision)
    return shrunken(config, vocabulary)


def _rows(batch: Any) -> Iterator[BatchRow]:
    """The rows of a collated batch; the attention mask tells padding, positions that begin anew tell conversations."""
    for row, ids in enumerate(batch["input_ids"].tolist()):
        labels = batch["labels"][row].tolist()
        there = batch["attention_mask"][row].tolist() if "attention_mask" in batch else [1] * len(ids)
        positions = batch["position_ids"][row].tolist() if "position_ids" in batch else range(len(ids))
        states: list[State] = [
            "padding" if not seen else "given" if label == IGNORED else "trained"
            for label, seen in zip(labels, there, strict=True)
        ]
        yield BatchRow(tuple(ids), tuple(states), tuple(i for i, position in enumerate(positions) if position == 0))
