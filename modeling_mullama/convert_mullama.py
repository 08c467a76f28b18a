"""
Released MU-LLaMA weights made one model folder: `checkpoint.pth`, a LLaMA and a MERT go in.

`read_release` opens the files, reads every dimension from them and plans each tensor of the model; nothing is written
before all of them are known to be there. `Release.write` then makes the tensors one by one, shard by shard, so that
memory holds one shard of the result, never the model. Pickles are opened with `weights_only=True`.

LLaMA's rotary embedding turns pairs of neighbours in Meta's layout and the two halves of a head in Hugging Face's, so
rows of the query and key projections move. LoRA is merged in float32 and cast last. The audio prefix was trained with
the value matrix before LoRA: `value_correction_a` and `_b` keep what was merged, for the model to take off again.
"""

import argparse
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants, snapshot_download, split_torch_state_dict_into_shards
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import httpx
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import AutoTokenizer, LlamaConfig, LlamaTokenizer, PreTrainedTokenizerBase, Wav2Vec2FeatureExtractor
from transformers.dynamic_module_utils import custom_object_save

from ..processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from .configuration_mert import MertConfig
from .configuration_mullama import MuLlamaConfig, MuLlamaTextConfig
from .export_mullama import (
    export_model_folder,
    released_generation_config,
    staged_folder,
    write_endpoint_files,
)
from .modeling_mert import MertModel
from .modeling_mullama import MuLlamaForConditionalGeneration

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MAX_SHARD_BYTES = 2_000_000_000
# Pages of a mapped file count as memory while it is open: it is opened anew after so many bytes.
MAX_MAPPED_BYTES = 256 * 1024**2
LLAMA_2_CONTEXT = 4096  # tokens; Meta's params.json does not say
IMAGEBIND_LLM_ROWS = 32

# Our name, Meta's name, and the names of its biases and LoRA in `checkpoint.pth`.
ATTENTION = {"q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo"}
FEED_FORWARD = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
PROJECTOR_BRANCHES = {"gate_proj": 1, "down_proj": 2, "up_proj": 3}
# Tables that both programs compute for themselves.
COMPUTED = re.compile(r"(^|\.)rope\.freqs$|rotary_emb\.inv_freq$")


class ConversionError(ValueError):
    """Files that cannot be converted, in one line that names the file, what is wrong with it and what to do."""


# --- Files -----------------------------------------------------------------------------------------------------------


def _open_pickle(path: Path) -> dict:
    """A pickled dict whose tensors stay in the file until they are touched. Nothing in it is ever executed."""
    with path.open("rb") as file:
        magic = file.read(2)
    is_zip = zipfile.is_zipfile(path)
    if magic == b"PK" and not is_zip:
        raise ConversionError(f"{path} is cut short or damaged: fetch it again.")
    if not is_zip and magic[:1] != b"\x80":
        raise ConversionError(f"{path} is not a PyTorch checkpoint.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:
        if unsafe := re.search(r"(?:Unsupported global: GLOBAL|Trying to load unsupported GLOBAL) (\S+)", str(error)):
            raise ConversionError(
                f"{path} is refused: it wants to run `{unsafe[1]}`, and weights need no code. Do not trust this file."
            ) from error
        raise ConversionError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ConversionError(f"{path} holds a {type(loaded).__name__}, not a dict of weights.")
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pickled file, whether they stand in it alone or under "model"."""
    loaded = _open_pickle(path)
    weights = loaded["model"] if isinstance(loaded.get("model"), dict) else loaded
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ConversionError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor: is this a checkpoint?")
    return weights


def _present_name(key: str) -> str:
    """The tensor's name in the spelling that is used here, of those that are met."""
    key = re.sub(r"^llma\.", "llama.", key)
    key = re.sub(r"\.weight_g$", ".parametrizations.weight.original0", key)
    return re.sub(r"\.weight_v$", ".parametrizations.weight.original1", key)


def _split_dim(parts: list[tuple[int, ...]], whole: tuple[int, ...]) -> int | None:
    """Along which dimension tensors of these shapes make up one of the shape `whole`; None if along none."""
    for dim in range(len(whole)):
        if all(len(part) == len(whole) for part in parts) and sum(part[dim] for part in parts) == whole[dim]:
            if all(part[:dim] + part[dim + 1 :] == whole[:dim] + whole[dim + 1 :] for part in parts):
                return dim
    return None


class TensorFiles:
    """
    The tensors of one or several files, of which each is read when it is asked for and let go.

    Args:
        paths: PyTorch pickles or safetensors files.
        is_split: Whether each file holds a slice of every tensor (Meta's shards), or some whole tensors.
    """

    def __init__(self, paths: list[Path], is_split: bool = False):
        self.paths = paths
        self.name = str(paths[0] if len(paths) == 1 else paths[0].parent)
        self.used: set[str] = set()
        self._parts: dict[str, list[tuple[Path, str, tuple[int, ...]]]] = {}  # file, name in it, shape
        self._handles = {}
        self._bytes_read = 0
        for path in paths:
            seen = set()
            for stored_name, shape in self._shapes_in(path).items():
                key = _present_name(stored_name)
                if key in seen or (key in self._parts and not is_split):
                    raise ConversionError(f"{path}: {key!r} is there twice, also under another spelling or in a file.")
                seen.add(key)
                self._parts.setdefault(key, []).append((path, stored_name, shape))
            missing = [key for key in self._parts if key not in seen and not COMPUTED.search(key)]
            if is_split and missing:
                raise ConversionError(f"{path}: {missing[0]!r} is missing, but other shards have it.")
        self._release_files()

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    def keys(self) -> list[str]:
        """All names, in the files' order."""
        return list(self._parts)

    def shape(self, key: str, dimensions: int) -> tuple[int, ...]:
        """
        The tensor's shape, if shards cut it by rows.

        Raises `ConversionError` if it is missing, or has not so many dimensions.
        """
        if key not in self._parts:
            raise ConversionError(f"{self.name}: {key!r} is missing.")
        shapes = [shape for _, _, shape in self._parts[key]]
        if any(len(shape) != dimensions for shape in shapes):
            raise ConversionError(f"{self.name}: {key!r} has shape {shapes[0]}, not {dimensions} dimensions.")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def claim(self, key: str, shape: tuple[int, ...]) -> Callable[[], torch.Tensor]:
        """A reader of the tensor. Raises `ConversionError` at once if it is missing or is not of this shape."""
        if key not in self._parts:
            raise ConversionError(f"{self.name}: {key!r} is missing.")
        parts = self._parts[key]
        split_dim = None
        # Shards hold slices of a matrix, along either dimension, and copies of a norm.
        if any(part_shape != shape for _, _, part_shape in parts):
            split_dim = _split_dim([part_shape for _, _, part_shape in parts], shape)
            if split_dim is None:
                shapes = " + ".join(str(part_shape) for _, _, part_shape in parts)
                raise ConversionError(f"{self.name}: {key!r} has shape {shapes}, but {shape} is expected.")
        self.used.add(key)

        def read() -> torch.Tensor:
            if split_dim is None:
                return self._read(*parts[0][:2])
            return torch.cat([self._read(path, stored_name) for path, stored_name, _ in parts], dim=split_dim)

        return read

    def refuse_unexpected(self) -> None:
        """Raises `ConversionError` if there is a tensor that nothing has used."""
        unexpected = [key for key in self._parts if key not in self.used]
        if unexpected:
            more = f" (and {len(unexpected) - 1} more)" if len(unexpected) > 1 else ""
            raise ConversionError(f"{self.name}: {unexpected[0]!r}{more} is unexpected: no part of this model.")

    def _open(self, path: Path):
        if path not in self._handles:
            if path.suffix == ".safetensors":
                try:
                    self._handles[path] = safe_open(path, framework="pt")
                except SafetensorError as error:
                    raise ConversionError(f"{path} is cut short or damaged ({error}): fetch it again.") from error
            else:
                self._handles[path] = _state_dict(path)
        return self._handles[path]

    def _shapes_in(self, path: Path) -> dict[str, tuple[int, ...]]:
        if not path.is_file():
            raise ConversionError(f"{path} does not exist.")
        handle = self._open(path)
        if isinstance(handle, dict):
            return {name: tuple(tensor.shape) for name, tensor in handle.items()}
        return {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}

    def _read(self, path: Path, stored_name: str) -> torch.Tensor:
        if self._bytes_read > MAX_MAPPED_BYTES:
            self._release_files()
        handle = self._open(path)
        tensor = handle[stored_name] if isinstance(handle, dict) else handle.get_tensor(stored_name)
        self._bytes_read += tensor.nbytes
        return tensor.detach().clone()

    def _release_files(self) -> None:
        """Closes what is mapped. A pickle of before torch 1.6 cannot be mapped: it is in memory, and stays."""
        self._handles = {
            path: handle
            for path, handle in self._handles.items()
            if isinstance(handle, dict) and not zipfile.is_zipfile(path)
        }
        self._bytes_read = 0


# --- Folders ---------------------------------------------------------------------------------------------------------


def find_folder(name: str, purpose: str) -> Path:
    """
    A folder, or the local copy of a repository of the Hub. Of the latter, weights come in one form only.

    Raises `ConversionError` if it is neither, or cannot be fetched.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConversionError(f"{name} is a file, but {purpose} is a folder or a repository of the Hub.")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise ConversionError(f"{name} does not exist: {purpose} is a folder or a repository of the Hub.")
    patterns = ["*.json", "tokenizer.model", "*.safetensors", "pytorch_model*.bin", "consolidated.*.pth"]
    try:
        if not constants.HF_HUB_OFFLINE and any(f.endswith(".safetensors") for f in HfApi().list_repo_files(name)):
            patterns = patterns[:3]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (httpx.HTTPError, HFValidationError, OSError) as error:
        raise ConversionError(
            f"{name} is no folder here, and the Hub does not give it ({_first_line(error)}). For a gated repository, "
            "accept its licence on the Hub and log in with `hf auth login`."
        ) from error


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConversionError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ConversionError(f"{path} holds a {type(content).__name__}, not a JSON object.")
    return content


def _hugging_face_weights(folder: Path) -> TensorFiles:
    """The weights of a folder as transformers writes it; safetensors before pickles."""
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return TensorFiles([folder / single])
        if index.is_file():
            names = sorted(set(_read_json(index).get("weight_map", {}).values()))
            if not names or any(Path(name).name != name for name in names):
                raise ConversionError(f"{index} does not list files of its folder.")
            return TensorFiles([folder / name for name in names])
    raise ConversionError(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")


def read_mert_config(folder: Path) -> MertConfig:
    """The configuration of a MERT folder. Raises `ConversionError` if it is another model's."""
    model_type = _read_json(folder / "config.json").get("model_type")
    if model_type not in ("mert_model", "mert"):
        raise ConversionError(f"{folder / 'config.json'} is of a {model_type!r} model, not of a MERT.")
    try:
        return MertConfig.from_pretrained(folder)
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{folder / 'config.json'}: {_first_line(error)}") from error


def _feature_extractor(folder: Path, config: MertConfig) -> MuLlamaFeatureExtractor:
    min_samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        min_samples = (min_samples - 1) * stride + kernel
    if (folder / "preprocessor_config.json").is_file():
        extractor = MuLlamaFeatureExtractor.from_pretrained(folder, min_samples=min_samples)
    else:
        extractor = MuLlamaFeatureExtractor(sampling_rate=config.sample_rate, min_samples=min_samples)
    if extractor.sampling_rate != config.sample_rate:
        raise ConversionError(
            f"{folder}: preprocessor_config.json has {extractor.sampling_rate} Hz, but config.json "
            f"{config.sample_rate} Hz."
        )
    return extractor


def _mert_feature_extractor(folder: Path, config: MertConfig) -> Wav2Vec2FeatureExtractor:
    if (folder / "preprocessor_config.json").is_file():
        return Wav2Vec2FeatureExtractor.from_pretrained(folder)
    return Wav2Vec2FeatureExtractor(sampling_rate=config.sample_rate, do_normalize=True, return_attention_mask=True)


@dataclass
class Llama:
    """A LLaMA of either layout: its weights, its names for them and its dimensions."""

    files: TensorFiles
    config: LlamaConfig
    tokenizer: PreTrainedTokenizerBase
    is_meta: bool

    def name_of(self, target: str) -> str:
        """This layout's name of a tensor that is called `target` in Hugging Face's."""
        if not self.is_meta:
            is_tied = target == "lm_head.weight" and self.config.tie_word_embeddings and target not in self.files
            return "model.embed_tokens.weight" if is_tied else target
        return meta_name(target)


def meta_name(target: str) -> str:
    """Meta's name of a LLaMA tensor."""
    name = target.removeprefix("model.")
    for ours, theirs in {
        "embed_tokens": "tok_embeddings",
        "lm_head": "output",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn": "attention",
        "mlp": "feed_forward",
        **ATTENTION,
        **FEED_FORWARD,
    }.items():
        name = re.sub(rf"(^|\.){ours}\.", rf"\1{theirs}.", name)
    return name


def read_llama(name: str) -> Llama:
    """Opens a LLaMA: Meta's folder, Hugging Face's, or a repository of the Hub. Raises `ConversionError`."""
    folder = find_folder(name, "LLaMA")
    if (folder / "config.json").is_file():
        return _read_hugging_face_llama(folder)
    inner = [path.parent for path in sorted([folder / "params.json", *folder.glob("*/params.json")]) if path.is_file()]
    if not inner:
        raise ConversionError(f"{folder} holds neither a config.json nor a params.json, in it or one folder down.")
    if len(inner) > 1:
        raise ConversionError(f"{folder} holds several LLaMAs: name one of {', '.join(map(str, inner))}.")
    return _read_meta_llama(inner[0])


def _read_hugging_face_llama(folder: Path) -> Llama:
    model_type = _read_json(folder / "config.json").get("model_type")
    if model_type != "llama":
        raise ConversionError(f"{folder / 'config.json'} is of a {model_type!r} model, not of a LLaMA.")
    try:
        config = LlamaConfig.from_pretrained(folder)
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{folder / 'config.json'}: {_first_line(error)}") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConversionError(f"{folder}: its tokenizer cannot be read: {_first_line(error)}") from error
    return Llama(_hugging_face_weights(folder), config, tokenizer, is_meta=False)


def _read_meta_llama(folder: Path) -> Llama:
    shards = sorted(folder.glob("consolidated.*.pth"))
    expected = [folder / f"consolidated.{number:02d}.pth" for number in range(max(len(shards), 1))]
    if shards != expected:
        raise ConversionError(f"{next(path for path in expected if path not in shards)} is missing.")
    files = TensorFiles(shards, is_split=True)

    path = folder / "params.json"
    params = _read_json(path)
    for key, kinds in {"n_heads": int, "norm_eps": (int, float)}.items():
        if not isinstance(params.get(key), kinds) or params[key] <= 0:
            raise ConversionError(f"{path}: {key} is {params.get(key)!r}, but a number above 0 is expected.")
    if params.get("use_scaled_rope"):
        raise ConversionError(f"{path}: use_scaled_rope is of LLaMA 3.1 and later; MU-LLaMA's is LLaMA 2.")
    vocab_size, width = files.shape("output.weight", 2)
    if params.get("vocab_size", -1) not in (-1, vocab_size):
        raise ConversionError(f"{path}: vocab_size is {params['vocab_size']}, but {files.name} has {vocab_size}.")
    heads = params["n_heads"]
    if params.get("dim", width) != width or width % heads != 0:
        raise ConversionError(
            f"{path}: dim {params.get('dim')} and n_heads {heads} do not fit the width {width} of {files.name}."
        )
    numbers = {int(match[1]) for key in files.keys() if (match := re.match(r"layers\.(\d+)\.", key))}
    layers = params.get("n_layers", len(numbers))
    if numbers != set(range(layers)):
        raise ConversionError(f"{path}: n_layers is {layers}, but {files.name} has {len(numbers)} layers.")
    key_value_width = files.shape("layers.0.attention.wk.weight", 2)[0]
    if key_value_width % (width // heads) or params.get("n_kv_heads", heads) * (width // heads) != key_value_width:
        raise ConversionError(
            f"{path}: n_kv_heads {params.get('n_kv_heads', heads)} does not fit the {key_value_width} rows of the key "
            f"projections of {files.name}: is a shard missing?"
        )
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=files.shape("layers.0.feed_forward.w1.weight", 2)[0],
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_width // (width // heads),
        rms_norm_eps=params["norm_eps"],
        rope_parameters={"rope_type": "default", "rope_theta": float(params.get("rope_theta", 10_000.0))},
        max_position_embeddings=LLAMA_2_CONTEXT,
    )
    tokenizer_folder = next((f for f in (folder, folder.parent) if (f / "tokenizer.model").is_file()), None)
    if tokenizer_folder is None:
        raise ConversionError(f"tokenizer.model is missing: it belongs in {folder} or beside it.")
    try:
        tokenizer = LlamaTokenizer.from_pretrained(tokenizer_folder)
    except Exception as error:
        raise ConversionError(
            f"{tokenizer_folder / 'tokenizer.model'} is not a SentencePiece model: {_first_line(error)}"
        ) from error
    return Llama(files, config, tokenizer, is_meta=True)


# --- The plan --------------------------------------------------------------------------------------------------------


@dataclass
class Release:
    """
    A released MU-LLaMA, opened and checked.

    config: every dimension, as the files have it.
    processor: LLaMA's tokenizer with MERT's feature extractor.
    recipes: for each tensor of the model, what makes it.
    report: what was mapped and what was left out and why, a line each.
    """

    config: MuLlamaConfig
    processor: MuLlamaProcessor
    recipes: dict[str, Callable[[], torch.Tensor]] = field(repr=False)
    report: list[str]

    def write(self, out_dir: str | Path, dtype: str = "float32", card: str = "") -> Path:
        """
        Makes the tensors and writes the model folder, shard by shard, under a temporary name until it is whole.

        Args:
            out_dir: The folder to write, which must not exist or be empty.
            dtype: "float32", "float16" or "bfloat16"; arithmetic is in float32 whatever it is.
            card: Text of the model card, README.md.

        Returns `out_dir`. Raises `FileExistsError`, or `ConversionError` if a weight does not fit `dtype`.
        """
        self.config.dtype = dtype
        with torch.device("meta"):
            model = MuLlamaForConditionalGeneration(self.config).to(DTYPES[dtype])
        model.config.architectures = [type(model).__name__]
        model.generation_config = released_generation_config(self.processor.tokenizer)
        shards = split_torch_state_dict_into_shards(
            model.state_dict(), filename_pattern="model{suffix}.safetensors", max_shard_size=MAX_SHARD_BYTES
        )
        needed, free = shards.metadata["total_size"], shutil.disk_usage(_existing_parent(out_dir)).free
        if needed > free:
            raise ConversionError(
                f"{out_dir}: {needed:,} bytes are to be written, but {free:,} are free on that disk."
            )
        progress = tqdm(total=len(self.recipes), desc="Converting", unit="tensor", disable=None)
        with progress, staged_folder(out_dir) as folder:
            for filename, names in shards.filename_to_tensors.items():
                tensors = {}
                for name in names:
                    tensors[name] = self._make(name, DTYPES[dtype])
                    progress.update()
                save_file(tensors, folder / filename, metadata={"format": "pt"})
            if shards.is_sharded:
                index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
                text = json.dumps(index, indent=2, sort_keys=True) + "\n"
                (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
            custom_object_save(model, folder, model.config)
            model.config.save_pretrained(folder)
            model.generation_config.save_pretrained(folder)
            self.processor.save_pretrained(folder)
            (folder / "README.md").write_text(card, encoding="utf-8")
            write_endpoint_files(folder)
        return Path(out_dir)

    def _make(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        tensor = self.recipes[name]()
        cast = tensor.to(dtype).contiguous()
        if cast.isinf().any() and not tensor.isinf().any():
            raise ConversionError(f"{name} has values beyond {dtype}: convert to bfloat16 or float32.")
        return cast


def _existing_parent(path: str | Path) -> Path:
    return next(folder for folder in Path(path).absolute().parents if folder.is_dir())


def read_release(checkpoint: str | Path, llama: str, mert: str) -> Release:
    """
    Opens the released files and plans each tensor of the model.

    Args:
        checkpoint: MU-LLaMA's `checkpoint.pth`: its trained part or all of it, of either training phase.
        llama: Meta's folder (`7B/` or the one above it), Hugging Face's, or a repository of the Hub.
        mert: A MERT folder or a repository of the Hub.

    Raises `ConversionError` on a file that cannot be read, and on any tensor that is missing, unexpected or of a shape
    that does not fit the others.
    """
    return _Planner(checkpoint, llama, mert).plan()


def export_mert(mert: str, out_dir: str | Path, dtype: str, make_card: Callable[[MertConfig], str]) -> Path:
    """
    Writes a MERT folder that loads on transformers 5 with `trust_remote_code=True`, with nothing to install.

    Args:
        mert: A MERT folder or a repository of the Hub.
        out_dir: The folder to write, which must not exist or be empty.
        dtype: "float32", "float16" or "bfloat16".
        make_card: Makes the text of the model card, README.md, of the configuration.

    Returns `out_dir`. Raises `FileExistsError`, or `ConversionError` if a tensor is missing, unexpected or misshapen.
    """
    folder = find_folder(mert, "MERT")
    config, files = read_mert_config(folder), _hugging_face_weights(folder)
    with torch.device("meta"):
        expected = MertModel(config).state_dict()
    for name, tensor in expected.items():
        files.claim(name, tuple(tensor.shape))
    files.used.add("masked_spec_embed")
    files.refuse_unexpected()
    model = MertModel.from_pretrained(folder, config=config, dtype=DTYPES[dtype])
    return export_model_folder(model, _mert_feature_extractor(folder, config), out_dir, make_card(config))


class _Planner:
    def __init__(self, checkpoint: str | Path, llama: str, mert: str):
        self.checkpoint = TensorFiles([Path(checkpoint).expanduser()])
        self._check_prefix()
        self.llama = read_llama(llama)
        self.mert_folder = find_folder(mert, "MERT")
        self.mert_config = read_mert_config(self.mert_folder)
        self.mert = _hugging_face_weights(self.mert_folder)
        self._check_dimensions()
        self.left_out: dict[str, int] = {}

        # The checkpoint has each of these kinds of tensors whole, or not at all.
        layers = [f"llama.layers.{i}" for i in range(self.llama.config.num_hidden_layers)]
        linears = [f"attention.{name}" for name in ATTENTION.values()]
        linears += [f"feed_forward.{name}" for name in FEED_FORWARD.values()]
        biased = [name for name in linears if name not in ("attention.wk", "attention.wv")]
        lora = [name.replace(".", ".lora_") + part for name in linears for part in ("_l1", "_l2")]
        norms = [f"{layer}.{name}.weight" for layer in layers for name in ("attention_norm", "ffn_norm")]
        weights = [f"{layer}.{name}.weight" for layer in layers for name in linears]
        self.has_lora = self._has_all([f"{layer}.{name}.weight" for layer in layers for name in lora])
        self.has_biases = self._has_all([f"{layer}.{name}.bias" for layer in layers for name in biased])
        self.has_norms = self._has_all([*norms, "llama.norm.weight"])
        self.has_llama = self._has_all([*weights, "llama.tok_embeddings.weight", "llama.output.weight"])

    def _check_prefix(self) -> None:
        checkpoint = self.checkpoint
        if "prefix_query.weight" not in checkpoint:
            raise ConversionError(f"{checkpoint.name}: 'prefix_query.weight' is missing: is it MU-LLaMA's checkpoint?")
        rows = checkpoint.shape("prefix_query.weight", 2)[0]
        if rows == IMAGEBIND_LLM_ROWS:
            raise ConversionError(
                f"{checkpoint.name} is of another model: its prefix_query has {rows} rows, as ImageBind-LLM's has; "
                "MU-LLaMA's has 20."
            )

    def _check_dimensions(self) -> None:
        """Says whose file is wrong where one tensor's shape alone would not."""
        checkpoint, llama, mert = self.checkpoint, self.llama.config, self.mert_config
        rows, width = checkpoint.shape("prefix_query.weight", 2)
        numbers = [int(m[1]) for key in checkpoint.keys() if (m := re.match(r"llama\.layers\.(\d+)\.", key))]
        layers = max(numbers, default=-1) + 1
        if (width, layers) != (llama.hidden_size, llama.num_hidden_layers) or rows > layers:
            raise ConversionError(
                f"{self.llama.files.name} is a LLaMA of width {llama.hidden_size} with {llama.num_hidden_layers} "
                f"layers, but {checkpoint.name} was trained on one of width {width} with {layers}, {rows} adapted."
            )
        states = checkpoint.shape("mu_mert_agg.weight", 3)[1]
        mert_width = checkpoint.shape("mu_mert_proj.weight", 2)[1]
        if (states, mert_width) != (mert.num_hidden_layers + 1, mert.hidden_size):
            raise ConversionError(
                f"{self.mert_folder} is a MERT of width {mert.hidden_size} with {mert.num_hidden_layers} layers, but "
                f"{checkpoint.name} was trained on one of width {mert_width} with {states - 1}."
            )
        if len(self.llama.tokenizer) > llama.vocab_size:
            raise ConversionError(
                f"{self.llama.files.name}: the tokenizer has {len(self.llama.tokenizer)} pieces, but there are "
                f"embeddings of {llama.vocab_size}."
            )

    def _has_all(self, keys: list[str]) -> bool:
        missing = [key for key in keys if key not in self.checkpoint]
        if 0 < len(missing) < len(keys):
            raise ConversionError(
                f"{self.checkpoint.name}: {missing[0]!r} is missing, but other tensors of its kind are there."
            )
        return not missing

    def _config(self) -> MuLlamaConfig:
        checkpoint, tokenizer = self.checkpoint, self.llama.tokenizer
        rows = checkpoint.shape("prefix_query.weight", 2)[0]
        layers = self.llama.config.num_hidden_layers
        ranks = [
            checkpoint.shape(f"llama.layers.{layer}.attention.lora_wv_l1.weight", 2)[0]
            for layer in range(layers - rows, layers)
            if self.has_lora
        ]
        blocks = {int(m[1]) for key in checkpoint.keys() if (m := re.fullmatch(r"mu_mert_norm_(\d+)\.weight", key))}
        llama = self.llama.config.to_dict()
        for name in ("model_type", "architectures", "auto_map", "dtype", "transformers_version", "_name_or_path"):
            llama.pop(name, None)
        llama.update(
            attention_bias=self.has_biases,
            mlp_bias=self.has_biases,
            tie_word_embeddings=False,
            num_adapter_layers=rows,
            value_correction_rank=max(ranks, default=0),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
        )
        return MuLlamaConfig(
            audio_config=self.mert_config,
            text_config=MuLlamaTextConfig(**llama),
            num_projector_layers=max(blocks, default=1),
            projector_intermediate_size=checkpoint.shape("mu_mert_f1_1.weight", 2)[0],
        )

    def plan(self) -> Release:
        config = self._config()
        with torch.device("meta"):
            model = MuLlamaForConditionalGeneration(config)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        self.recipes: dict[str, Callable[[], torch.Tensor]] = {}
        self._plan_mert()
        self._plan_projector(config)
        self._plan_adapter(config.text_config)
        self._plan_llama(config.text_config)
        unplanned = self.shapes.keys() ^ self.recipes.keys()
        if unplanned:
            raise RuntimeError(f"No file has what the model calls {sorted(unplanned)}.")
        processor = MuLlamaProcessor(_feature_extractor(self.mert_folder, self.mert_config), self.llama.tokenizer)
        return Release(config, processor, self.recipes, self._report())

    def _plan_mert(self) -> None:
        ours = "model.audio_tower."
        names = [name.removeprefix(ours) for name in self.shapes if name.startswith(ours)]
        in_checkpoint = self._has_all([f"mert_model.{name}" for name in names])
        for name in names:
            shape = self.shapes[ours + name]
            if in_checkpoint:
                self.recipes[ours + name] = self.checkpoint.claim(f"mert_model.{name}", shape)
                self._leave_out(self.mert, name, "of MERT's, which the checkpoint has")
            else:
                self.recipes[ours + name] = self.mert.claim(name, shape)
        for files, name in ((self.mert, "masked_spec_embed"), (self.checkpoint, "mert_model.masked_spec_embed")):
            self._leave_out(files, name, "for SpecAugment, which the configuration turns off")

    def _plan_projector(self, config: MuLlamaConfig) -> None:
        ours = "model.multi_modal_projector."
        width = config.text_config.hidden_size
        states, mert_width = config.audio_config.num_hidden_layers + 1, config.audio_config.hidden_size
        mix = self.checkpoint.claim("mu_mert_agg.weight", (1, states, 1))
        self.recipes[ours + "layer_weights.weight"] = lambda: mix().squeeze(-1)
        self.recipes[ours + "layer_weights.bias"] = self.checkpoint.claim("mu_mert_agg.bias", (1,))
        self.recipes[ours + "linear.weight"] = self.checkpoint.claim("mu_mert_proj.weight", (width, mert_width))
        self.recipes[ours + "linear.bias"] = self.checkpoint.claim("mu_mert_proj.bias", (width,))
        for block in range(config.num_projector_layers):
            name = f"{ours}blocks.{block}."
            norm = f"mu_mert_norm_{block + 1}.weight"
            self.recipes[name + "norm.weight"] = self.checkpoint.claim(norm, (width,))
            for linear, branch in PROJECTOR_BRANCHES.items():
                target = f"{name}{linear}.weight"
                theirs = f"mu_mert_f{branch}_{block + 1}.weight"
                self.recipes[target] = self.checkpoint.claim(theirs, self.shapes[target])

    def _plan_adapter(self, config: MuLlamaTextConfig) -> None:
        rows, heads, width = config.num_adapter_layers, config.num_attention_heads, config.hidden_size
        queries = self.checkpoint.claim("prefix_query.weight", (rows, width))
        first, rank = config.num_hidden_layers - rows, config.value_correction_rank
        for layer in range(config.num_hidden_layers):
            theirs = f"llama.layers.{layer}.attention."
            if layer < first:
                self._leave_out(self.checkpoint, theirs + "gate", "gates of layers that have no prefix")
                continue
            ours = f"model.language_model.layers.{layer}.self_attn.audio_prefix."
            gate = self.checkpoint.claim(theirs + "gate", (1, heads, 1, 1))
            self.recipes[ours + "query"] = lambda row=layer - first: queries()[row]
            self.recipes[ours + "gate"] = lambda gate=gate: gate().view(heads, 1)
            if self.has_lora:
                down, up = self._claim_lora(theirs + "lora_wv", self.shapes[ours + "value_correction_b"][0], width)
                self.recipes[ours + "value_correction_a"] = lambda down=down: _padded(down(), (rank, width))
                self.recipes[ours + "value_correction_b"] = lambda up=up: _padded(up(), (up().shape[0], rank))

    def _plan_llama(self, config: MuLlamaTextConfig) -> None:
        linear_name = re.compile(r"model\.language_model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+)\.(weight|bias)")
        for ours, shape in self.shapes.items():
            if not ours.startswith(("model.language_model.", "lm_head.")) or ours in self.recipes:
                continue
            target = ours.replace("model.language_model.", "model.")
            match = linear_name.fullmatch(ours)
            if match and match[4] == "bias":
                self.recipes[ours] = self._bias(config, target, shape, match[3])
                continue
            in_checkpoint = self.has_norms if "norm" in target else self.has_llama
            read = self._claim_llama(target, shape, in_checkpoint)
            if match:
                pairs = self.has_llama or self.llama.is_meta
                read = self._linear(config, target, shape, match[3], read, pairs)
            self.recipes[ours] = read

    def _claim_llama(self, target: str, shape: tuple[int, ...], in_checkpoint: bool) -> Callable[[], torch.Tensor]:
        name = self.llama.name_of(target)
        if not in_checkpoint:
            return self.llama.files.claim(name, shape)
        self._leave_out(self.llama.files, name, "of LLaMA's, which the checkpoint has")
        return self.checkpoint.claim(f"llama.{meta_name(target)}", shape)

    def _bias(
        self, config: MuLlamaTextConfig, target: str, shape: tuple[int, ...], linear: str
    ) -> Callable[[], torch.Tensor]:
        if linear in ("k_proj", "v_proj"):
            return lambda: torch.zeros(shape)
        read = self.checkpoint.claim(f"llama.{meta_name(target)}", shape)
        if linear == "q_proj":
            return lambda: pairs_to_halves(read(), config.num_attention_heads)
        return read

    def _linear(
        self,
        config: MuLlamaTextConfig,
        target: str,
        shape: tuple[int, ...],
        linear: str,
        read: Callable[[], torch.Tensor],
        pairs: bool,
    ) -> Callable[[], torch.Tensor]:
        """The matrix with LoRA merged, rotating halves; `pairs` says that what is read rotates pairs."""
        rotated = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        heads = rotated.get(linear)
        if not self.has_lora:
            return (lambda: pairs_to_halves(read(), heads)) if heads and pairs else read
        lora = re.sub(r"(\w+)\.weight$", r"lora_\1", f"llama.{meta_name(target)}")
        down, up = self._claim_lora(lora, *shape)

        def merge() -> torch.Tensor:
            weight, low_rank = read(), up().float()
            if heads:
                low_rank = pairs_to_halves(low_rank, heads)
                weight = pairs_to_halves(weight, heads) if pairs else weight
            return weight.float() + low_rank @ down().float()

        return merge

    def _claim_lora(self, name: str, rows: int, columns: int) -> tuple[Callable[[], torch.Tensor], ...]:
        """LoRA's A and B."""
        rank = self.checkpoint.shape(f"{name}_l1.weight", 2)[0]
        return (
            self.checkpoint.claim(f"{name}_l1.weight", (rank, columns)),
            self.checkpoint.claim(f"{name}_l2.weight", (rows, rank)),
        )

    def _leave_out(self, files: TensorFiles, name: str, reason: str) -> None:
        if name in files and name not in files.used:
            files.used.add(name)
            self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def _report(self) -> list[str]:
        sources = {"checkpoint": self.checkpoint, "LLaMA": self.llama.files, "MERT": self.mert}
        for files in sources.values():
            for key in filter(COMPUTED.search, files.keys()):
                self._leave_out(files, key, "tables of the rotary embedding, which are computed")
            files.refuse_unexpected()
        total = sum(len(files.keys()) for files in sources.values())
        mapped = total - sum(self.left_out.values())
        parts = ", ".join(f"{len(files.keys())} in {name}" for name, files in sources.items())
        return [
            f"Mapped {mapped} of {total} tensors ({parts}) to the {len(self.recipes)} of the model.",
            *(f"Left out {count} {reason}." for reason, count in self.left_out.items()),
        ]


def pairs_to_halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a rotated projection, `(heads * head_dim, ...)`, from Meta's order to Hugging Face's."""
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(rows.shape)


def _padded(tensor: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """A LoRA factor with zeros up to the largest rank of all layers."""
    return torch.nn.functional.pad(tensor, (0, shape[1] - tensor.shape[1], 0, shape[0] - tensor.shape[0]))


__all__ = ["DTYPES", "ConversionError", "Release", "export_mert", "read_release"]
