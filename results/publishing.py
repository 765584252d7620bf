"""Upload a model's folder with its card to the Hugging Face Hub, or to whatever HF_ENDPOINT names.

    address = publish(Path("data/trained"), "my-lab/agent-4b", private=True)

Checkpoints of the training, states of optimizers and settings with this machine's paths stay here: what is uploaded is
a model that can be loaded, its tokenizer, template, card and `.eval_results`. The Hub's own client does it, with its
token (`hf auth login`, HF_TOKEN); a folder without a card is refused.
"""

from __future__ import annotations

from pathlib import Path

from results.hub import HubError
from results.model_card import CARD, check_name

LEFT = (
    "training_args.bin",
    "trainer_state.json",
    "run.json",
    "whole.json",
    "curve.json",
    "partial",
    "checkpoint-*",
    ".pruned-*",
    "optimizer*",
    "scheduler.pt",
    "rng_state*",
    "global_step*",
    "*.partial",
    "study-run.txt",
)


def publish(
    folder: Path,
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Create the repository where there is none, upload the folder, and return its address.

    Raises HubError for a folder without model or card, a name the Hub would not take, or an upload that was refused.
    """
    import httpx2  # what huggingface_hub speaks through
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    check_name(repository)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise HubError(f"{folder}: has no config.json, so it is no model to publish.")
    if not (folder / CARD).is_file():
        raise HubError(f"{folder}: has no {CARD}, and a model goes nowhere without its card.")
    api = HfApi(token=token)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            commit_message="Model, card and results",
            ignore_patterns=[*LEFT, *(f"{pattern}/*" for pattern in LEFT)],
            revision=revision,
        )
    except LocalTokenNotFoundError:
        raise HubError("there is no token of the Hub. Log in with `hf auth login`, or set HF_TOKEN.") from None
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise HubError(f"{repository}: could not be uploaded ({' '.join(str(error).split())[:300]}).") from None
    return str(done.repo_url)
