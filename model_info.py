"""Tell what a model folder or Hub repository holds, from its JSON files, weights' headers and card alone."""

import json
import math
import re
from pathlib import Path
from typing import Any

EMBEDDED_MODEL = Path(__file__).parent / "checkpoints" / "mullama-tiny"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MERT_TYPES = ("mert", "mert_model")
CONVOLUTION_STRIDES = (5, 2, 2, 2, 2, 2, 2)  # HuBERT's default, which a released MERT configuration leaves out


class ModelError(ValueError):
    """A model that there is not or that cannot be used, in one line that names it and what is wrong."""


def describe_model(model: str | Path | None = None) -> dict[str, Any]:
    """
    What a MU-LLaMA or a MERT is.

    Args:
        model (`str` or `Path`, *optional*): A folder, or a Hub id "name/model"; the embedded tiny model by default.

    Returns:
        `dict`: Names to plain values, in the order to show them in; no weights are loaded and no code is run.

    Raises:
        ModelError: there is no such model, or it is neither a MU-LLaMA nor a MERT.
    """
    folder = model_folder(EMBEDDED_MODEL if model is None else model)
    config = _read_json(folder / "config.json")
    model_type = config.get("model_type")
    if model_type != "mullama" and model_type not in MERT_TYPES:
        raise ModelError(f"{folder}: a {model_type!r} model, neither a MU-LLaMA nor a MERT")
    try:
        if model_type == "mullama":
            facts = _describe_mullama(config)
        else:
            facts = {"model": "MERT, a music encoder", "class": "MertModel", **_describe_encoder(config)}
    except KeyError as missing:
        raise ModelError(f"{folder}: its config.json lacks {missing}") from missing
    return {
        "path": str(model or folder),
        **facts,
        **_describe_windows(folder),
        **_describe_weights(folder),
        **_describe_card(folder),
    }


def model_folder(model: str | Path) -> Path:
    """
    The folder itself, or the small files of a Hub repository (configuration, card) and its weights' index.

    Raises `ModelError` if there is no such folder, nor such a repository to be had.
    """
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{model}: not a model folder: it has no config.json")
        return folder
    if folder.exists() or not HUB_ID.fullmatch(str(model)):
        raise ModelError(f"{model}: no such model folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(str(model), allow_patterns=["*.json", "README.md"]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{model}: neither a folder here nor to be had from the Hub: {reason}") from error


def require_mullama(model: str | Path | None = None) -> None:
    """Raise `ModelError` unless it is a MU-LLaMA, before anything of it or of torch is loaded."""
    folder = model_folder(EMBEDDED_MODEL if model is None else model)
    model_type = _read_json(folder / "config.json").get("model_type")
    if model_type != "mullama":
        raise ModelError(f"{folder}: a {model_type!r} model, not a MU-LLaMA that answers questions")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return content


def _describe_mullama(config: dict[str, Any]) -> dict[str, Any]:
    text, audio = config["text_config"], config["audio_config"]
    layers = text["num_hidden_layers"]
    adapted = text.get("num_adapter_layers", min(20, layers))
    return {
        "model": "MU-LLaMA, a language model that hears music",
        "class": (config.get("architectures") or ["MuLlamaForConditionalGeneration"])[0],
        **{f"encoder_{name}": value for name, value in _describe_encoder(audio).items()},
        "language_model_layers": layers,
        "language_model_width": text["hidden_size"],
        "layers_that_hear": f"{adapted} (the last)",
        "vocabulary": text["vocab_size"],
        "positions": text["max_position_embeddings"],
    }


def _describe_encoder(config: dict[str, Any]) -> dict[str, Any]:
    rate = config.get("sample_rate", 24_000)
    return {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "hears": f"{rate} Hz mono",
        "frames_per_second": rate // math.prod(config.get("conv_stride", CONVOLUTION_STRIDES)),
    }


def _describe_windows(folder: Path) -> dict[str, Any]:
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            content = _read_json(folder / name)
            seconds = content.get("feature_extractor", content).get("window_seconds")
            if seconds is not None:
                return {"window_seconds": seconds}
    return {}


def _describe_weights(folder: Path) -> dict[str, Any]:
    """Parameters and types by the safetensors headers; of weights that are pickled or not here, their size."""
    parameters, dtypes, size = 0, set(), 0
    for path in sorted(folder.glob("*.safetensors")):
        size += path.stat().st_size
        for tensor in _safetensors_header(path).values():
            parameters += math.prod(tensor["shape"])
            dtypes.add(tensor["dtype"])
    if parameters:
        return {"parameters": parameters, "dtype": ", ".join(sorted(dtypes)), "weights_bytes": size}
    if (pickle := folder / "pytorch_model.bin").is_file():
        return {"weights_bytes": pickle.stat().st_size}
    index = folder / "model.safetensors.index.json"
    return {"weights_bytes": _read_json(index)["metadata"]["total_size"]} if index.is_file() else {}


def _safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> {"dtype", "shape", ...} of each tensor: an 8-byte length, then so much JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < path.stat().st_size:
            raise ModelError(f"{path}: not a safetensors file, or a truncated one")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(f"{path}: not a safetensors file, or a truncated one") from error
    header.pop("__metadata__", None)
    return header


def _describe_card(folder: Path) -> dict[str, Any]:
    """Licence and datasets from the card's head, and the first paragraph of its section "Training data"."""
    card = folder / "README.md"
    if not card.is_file():
        return {}
    import yaml

    text = card.read_text(encoding="utf-8", errors="replace")
    facts = {}
    if match := re.match(r"---\n(.*?)\n---\n", text, re.DOTALL):
        try:
            head = yaml.safe_load(match[1])
        except yaml.YAMLError:
            head = None
        if isinstance(head, dict):
            for key in ("license", "datasets", "base_model"):
                if value := head.get(key):
                    facts[key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if match := re.search(r"^#+ *Training data *\n+(.+?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE | re.IGNORECASE):
        facts["training_data"] = " ".join(match[1].split())
    return facts
