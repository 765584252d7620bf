"""A recipe's `--push_to_hub`: one upload at the end, with a card that says how the model was made.

    publisher = Publisher.of(args)                    # before the trainer is made: TRL is kept from pushing by itself
    publisher.publish(trainer, asdict(recipe), base_model)

TRL would upload every checkpoint and a card of its own; ours holds the commands to reproduce, the hash of the training
data, and says that nobody has scored the model yet (`dabstep card --push-to-hub` and `recipes/ablate.py --push-to-hub`
put scores in their place). TRL's `hub_model_id`, `hub_private_repo`, `hub_token` and `hub_revision` are heeded; its
`hub_strategy` is not.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.command_line import RecipeError
from recipes.study_run import ROWS
from results.hub import HubError
from results.model_card import Trained, TrainingData, check_name, write_model_card
from results.provenance import ROOT, ProvenanceError, code_commit
from results.publishing import publish

OF_THE_UPLOAD = ("--push_to_hub",)


@dataclass(frozen=True)
class Publisher:
    """Where a training's model goes when it is done; nowhere, where nobody asked for it."""

    repository: str | None
    private: bool | None = None
    token: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, args: Any) -> Publisher:
        """Take TRL's flags over. Raises RecipeError for a name that the Hub would not take."""
        if not args.push_to_hub:
            return cls(None)
        if not args.hub_model_id:
            raise RecipeError("--push_to_hub needs --hub_model_id OWNER/NAME.")
        try:
            check_name(args.hub_model_id)
        except HubError as error:
            raise RecipeError(str(error)) from None
        args.push_to_hub = False
        return cls(args.hub_model_id, args.hub_private_repo, args.hub_token, args.hub_revision)

    def publish(self, trainer: Any, recipe: Mapping[str, Any], base_model: str) -> None:
        """Write the card and upload, from the main process only. Raises RecipeError; the model stays where it is."""
        if self.repository is None or not trainer.is_world_process_zero():
            return
        folder = Path(trainer.args.output_dir)
        try:
            trained = Trained(
                base_model=base_model,
                method=Path(sys.argv[0]).stem,
                commands=(command_typed(),),
                data=tuple(training_data(recipe.get("training_set"))),
                commit=code_commit(),
            )
            write_model_card(folder, self.repository, trained)
            address = publish(folder, self.repository, private=self.private, token=self.token, revision=self.revision)
        except (HubError, ProvenanceError) as error:
            raise RecipeError(f"the model is whole in {folder}, but {error}") from None
        print(f"published: {address}")


def command_typed() -> str:
    """This process's command as others can type it: without what is of the upload (a token, too) or of this machine."""
    words, dropped = [], False
    for word in sys.argv[1:]:
        flag = word.startswith("--")
        if flag:
            dropped = word.partition("=")[0] in OF_THE_UPLOAD or word.startswith("--hub_")
        words += [] if dropped else [word]
    return launch_command([f"recipes/{Path(sys.argv[0]).name}", *words])


def launch_command(words: Sequence[str]) -> str:
    """An `accelerate launch` of these words; of a path on this machine its last part is kept, or `recipes/...`."""
    shown = []
    for word in words:
        path = Path(word)
        if path.is_absolute():
            word = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT / "recipes") else path.name
        shown.append(word)
    return "accelerate launch " + shlex.join(shown)


def training_data(given: object) -> list[TrainingData]:
    """What a card says of the training sets: one folder or file, or several with their weights (`a=1,b=2`)."""
    found = []
    for name in filter(None, (part.strip() for part in str(given or "").split(","))):
        path = Path(name if Path(name).exists() else name.rpartition("=")[0] or name)
        rows = next((path / each for each in ROWS if (path / each).is_file()), path)
        if rows.is_file():
            found.append(TrainingData(path.name, _sha256(rows), _count(path)))
        elif path.is_dir():  # a published data set
            shards = sorted((path / "data").glob("*.parquet"))
            names = "".join(f"{shard.name} {_sha256(shard)}\n" for shard in shards)
            found.append(TrainingData(path.name, hashlib.sha256(names.encode()).hexdigest()))
        else:
            found.append(TrainingData(path.name, "not on this machine"))
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count(path: Path) -> int | None:
    card = path / "card.json"
    return int(json.loads(card.read_text(encoding="utf-8"))["rows"]) if card.is_file() else None
