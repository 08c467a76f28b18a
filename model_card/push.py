"""
Folders to the Hub: a model, a dataset, or the Space.

What can be checked here is checked before anything is sent: the folder is complete, the card has its metadata, the Hub
takes the card. Then the repository is created, the files are uploaded and the result gets a tag.
"""

import json
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import DatasetCard, HfApi, ModelCard, RepoCard, SpaceCard, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import httpx, validate_repo_id

from ..model_info import EMBEDDED_MODEL
from .cards import LIBRARY_NAME, PIPELINE_TAG, REPO_PLACEHOLDER

SPACE_FOLDER = Path(__file__).parents[1] / "spaces_app"
# Where the Space's app finds its model: on the Hub by this variable, or else in this folder of its own repository.
MODEL_VARIABLE, MODEL_PLACE = "MULLAMA_MODEL", "model"
# Code that every model folder carries, beside its weights.
MODEL_FILES = {
    "mullama": (
        "configuration_mert.py",
        "modeling_mert.py",
        "configuration_mullama.py",
        "modeling_mullama.py",
        "processing_mullama.py",
        "audio_io.py",
        "processor_config.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ),
    "mert": ("configuration_mert.py", "modeling_mert.py", "preprocessor_config.json"),
}
LOCAL_ONLY = [".*", "*/.*", "__pycache__/*", "*/__pycache__/*", "checkpoint-*/*", "*.tmp"]
# A dataset of `mullama caption` also holds its audio as files, for trainers here; what goes is in Parquet.
AUDIOFOLDER = "audiofolder"
CARDS = {"model": ModelCard, "dataset": DatasetCard, "space": SpaceCard}


class PushError(ValueError):
    """What cannot be pushed, in one line that says why and what to do."""


@dataclass(frozen=True)
class Push:
    """
    What goes to a repository.

    folder: where it is; files: of it, relative; card: the README.md that goes, which may be more than the folder's;
    variables: of a Space; model: a model folder that goes into a Space's repository.
    """

    folder: Path
    repo_id: str
    repo_type: str
    files: list[str]
    card: str
    variables: dict[str, str]
    model: Path | None = None

    def describe(self) -> list[str]:
        """A line for the repository and one for each file, with its size in bytes."""
        lines = [f"{self.repo_type} {self.repo_id}"]
        for name in self.files:
            size = len(self.card.encode()) if name == "README.md" else (self.folder / name).stat().st_size
            lines.append(f"{size:>14,}  {name}")
        for name in [] if self.model is None else _file_names(self.model):
            lines.append(f"{(self.model / name).stat().st_size:>14,}  {MODEL_PLACE}/{name}")
        return lines + [f"{name}={value}" for name, value in self.variables.items()]

    def run(self, private: bool = False, tag: str | None = None) -> str:
        """
        Creates the repository if need be, uploads, tags. What has arrived before is not sent again.

        Args:
            private: Whether a repository that is created is private.
            tag: Name of the tag; by default v1, v2 and so on, and none if nothing has changed since the last.

        Returns the repository's URL. Raises `PushError`.
        """
        check_push(self.repo_id)
        api = HfApi()
        try:
            user = api.whoami()["name"]
            CARDS[self.repo_type](self.card).validate(self.repo_type)
        except ValueError as error:
            raise PushError(f"{self.folder / 'README.md'}: the Hub refuses this card: {_one_line(error)}") from error
        except httpx.HTTPError as error:
            raise _explained(error, self.repo_id) from error
        try:
            sdk = "gradio" if self.repo_type == "space" else None
            url = api.create_repo(
                self.repo_id, repo_type=self.repo_type, private=private or None, space_sdk=sdk, exist_ok=True
            )
        except httpx.HTTPError as error:
            raise _explained(error, self.repo_id, user) from error
        try:
            if tag is not None and tag in self._tags(api):
                raise PushError(f"{self.repo_id} has a tag {tag!r} already: give another.")
            self._upload(api)
            for name, value in self.variables.items():
                api.add_space_variable(self.repo_id, name, value)
            self._tag(api, tag)
        except httpx.HTTPError as error:
            raise _explained(error, self.repo_id, user) from error
        return str(url)

    def _upload(self, api: HfApi) -> None:
        where = {"repo_id": self.repo_id, "repo_type": self.repo_type}
        api.upload_folder(
            folder_path=self.folder,
            allow_patterns=[_literal(name) for name in self.files if name != "README.md"],
            commit_message="Upload with mullama",
            **where,
        )
        if self.model is not None:
            api.upload_folder(
                folder_path=self.model,
                path_in_repo=MODEL_PLACE,
                allow_patterns=[_literal(name) for name in _file_names(self.model)],
                commit_message="Upload model with mullama",
                **where,
            )
        api.upload_file(
            path_or_fileobj=self.card.encode(),
            path_in_repo="README.md",
            commit_message="Upload card with mullama",
            **where,
        )

    def _tags(self, api: HfApi) -> dict[str, str]:
        refs = api.list_repo_refs(self.repo_id, repo_type=self.repo_type)
        return {ref.name: ref.target_commit for ref in refs.tags}

    def _tag(self, api: HfApi, tag: str | None) -> None:
        tags = self._tags(api)
        head = api.repo_info(self.repo_id, repo_type=self.repo_type).sha
        if tag is None:
            if head in tags.values():
                return
            numbers = [int(name[1:]) for name in tags if re.fullmatch(r"v\d+", name)]
            tag = f"v{max(numbers, default=0) + 1}"
        api.create_tag(self.repo_id, tag=tag, revision=head, repo_type=self.repo_type)


def model_push(folder: str | Path, repo_id: str) -> Push:
    """
    What of a model folder, MU-LLaMA's or a MERT's, goes to a repository, with its card's metadata completed.

    Raises `PushError` if the folder is not whole, or its card has no licence.
    """
    folder = _existing(folder)
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise PushError(f"{folder / 'config.json'} cannot be read: is {folder} a model folder?") from error
    if model_type not in MODEL_FILES:
        raise PushError(f"{folder} is a {model_type!r} model, neither a MU-LLaMA nor a MERT.")
    missing = [name for name in MODEL_FILES[model_type] if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("model.safetensors")
    if missing:
        raise PushError(
            f"{folder} lacks {', '.join(missing)}: write it with `save_pretrained` of the model and of its processor."
        )
    card = _card(folder, "model", repo_id)
    card.data.library_name = LIBRARY_NAME
    card.data.pipeline_tag = PIPELINE_TAG if model_type == "mullama" else "feature-extraction"
    return _push(folder, repo_id, "model", card)


def dataset_push(folder: str | Path, repo_id: str) -> Push:
    """What of a dataset folder, as `mullama data build` writes it, goes to a repository. Raises `PushError`."""
    folder = _existing(folder)
    if not any(path.suffix in (".parquet", ".jsonl", ".json", ".csv") for path in folder.rglob("*")):
        raise PushError(f"{folder} holds no Parquet, JSON or CSV file: is it a dataset?")
    push = _push(folder, repo_id, "dataset", _card(folder, "dataset", repo_id))
    if any((folder / "data").glob("*.parquet")):
        push.files[:] = [name for name in push.files if not name.startswith(f"{AUDIOFOLDER}/")]
    return push


def check_push(repo_id: str) -> None:
    """Raises `PushError` if nothing could be pushed there: it is no repository's name, or there is no token."""
    _check_repo_id(repo_id)
    if get_token() is None:
        raise PushError("There is no token: log in with `hf auth login`, or set HF_TOKEN.")


def space_push(repo_id: str, model: str | None = None, folder: str | Path = SPACE_FOLDER) -> Push:
    """
    What of the Space's folder goes to a repository.

    Args:
        model: Hub id of the model that it shows; by default the embedded one, which goes with it.

    Raises `PushError`.
    """
    folder = _existing(folder)
    if model is not None:
        _check_repo_id(model)
    card = _card(folder, "space", repo_id, needs_license=False)
    if model is not None:
        card.data.models = [model]
    push = _push(folder, repo_id, "space", card)
    if "app.py" not in push.files:
        raise PushError(f"{folder} holds no app.py.")
    if model is None:
        return replace(push, model=EMBEDDED_MODEL)
    return replace(push, variables={MODEL_VARIABLE: model})


def _existing(folder: str | Path) -> Path:
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise PushError(f"{folder} is not a folder.")
    return folder


def _check_repo_id(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PushError(f"{repo_id!r} is no repository's name: write USER/NAME ({_one_line(error)}).") from error


def _card(folder: Path, repo_type: str, repo_id: str, needs_license: bool = True) -> RepoCard:
    path = folder / "README.md"
    if not path.is_file():
        raise PushError(f"{folder} has no README.md: the Hub's card, with the licence in its metadata.")
    try:
        text = path.read_text(encoding="utf-8").replace(REPO_PLACEHOLDER, repo_id)
        card = CARDS[repo_type](text)
    except Exception as error:
        raise PushError(f"{path}: its metadata cannot be read: {_one_line(error)}") from error
    if needs_license and not card.data.license:
        raise PushError(f"{path} names no licence: begin it with `---`, `license: ...`, `---`.")
    return card


def _push(folder: Path, repo_id: str, repo_type: str, card: RepoCard) -> Push:
    _check_repo_id(repo_id)
    return Push(folder, repo_id, repo_type, _file_names(folder), str(card), {})


def _file_names(folder: Path) -> list[str]:
    """What of a folder is for others, relative to it."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in LOCAL_ONLY)]


def _literal(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _explained(error: Exception, repo_id: str, user: str = "you") -> PushError:
    """An error of the Hub or of the way there in one line."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status == 401:
        return PushError("The Hub does not know this token: log in with `hf auth login`, or set HF_TOKEN.")
    if status == 403:
        return PushError(f"{user} may not write to {repo_id}: choose a name of your own, or a token that may write.")
    if status is not None and status < 500:
        return PushError(f"{repo_id}: the Hub refuses this: {error.server_message or _one_line(error)}")
    return PushError(
        f"{repo_id}: the upload broke off ({_one_line(error)}): run the same command again, and it goes on from there."
    )
