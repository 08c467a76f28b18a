"""Hear once: each clip's layer means, computed once and kept, are all that the language side needs of the music.

A feature folder holds `layer_means.npy` (clips, layers + 1, width; float16), `clips.jsonl` with the clip of each row,
and `features.json`, written last, with the fingerprint of the encoder that heard them. `accelerate launch -m
mullama.training.features DATASET --model M --out DIR` shares the work among processes; killed, it goes on.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from mullama.modeling_mullama import MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaModel
from mullama.modeling_mullama.modeling_mert import MertModel
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from mullama.processing.audio_io import AudioError
from safetensors import safe_open
from tqdm import tqdm
from transformers import PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from .data import MAX_UNREADABLE, DataError, clip_audio, clip_ids, load_clips_of

ENCODER_PREFIX = "model.audio_tower."
CLIPS_A_PART = 32  # what a killed run loses at most, per process


def encoder_fingerprint(encoder: MertModel, extractor: MuLlamaFeatureExtractor) -> str:
    """A digest of all that layer means depend on: the weights to half precision, and how audio is cut for them."""
    digest = hashlib.sha256()
    cut = ("sampling_rate", "window_seconds", "do_normalize", "min_samples")
    digest.update(json.dumps([getattr(extractor, name) for name in cut]).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().to(torch.float16).numpy().tobytes())
    return digest.hexdigest()


def load_encoder(name: str) -> tuple[MertModel, MuLlamaFeatureExtractor]:
    """
    The encoder of a MU-LLaMA, or a MERT by itself, in float32, whatever the language model's size: it is not loaded.

    Raises DataError if there are no such weights.
    """
    extractor = MuLlamaFeatureExtractor.from_pretrained(name)
    if PreTrainedConfig.get_config_dict(name)[0].get("model_type") != "mullama":
        return MertModel.from_pretrained(name, dtype=torch.float32).eval(), extractor
    encoder = MertModel(MuLlamaConfig.from_pretrained(name).audio_config)
    index = cached_file(name, SAFE_WEIGHTS_INDEX_NAME, _raise_exceptions_for_missing_entries=False)
    if index is None:
        files = {SAFE_WEIGHTS_NAME}
    else:
        places = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        files = {file for tensor, file in places.items() if tensor.startswith(ENCODER_PREFIX)}
    weights = {}
    for file in sorted(files):
        with safe_open(cached_file(name, file), "pt") as opened:
            for tensor in opened.keys():
                if tensor.startswith(ENCODER_PREFIX):
                    weights[tensor.removeprefix(ENCODER_PREFIX)] = opened.get_tensor(tensor).float()
    missing = encoder.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise DataError(f"{name}: its encoder lacks {len(missing)} weights, the first is {missing[0]}")
    return encoder.eval(), extractor


def _listener(encoder: MertModel) -> MuLlamaModel:
    """A model that hears as MU-LLaMA does, window by window, with next to no language model behind."""
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text |= {"num_key_value_heads": 1, "vocab_size": 8, "num_adapter_layers": 0}
    config = MuLlamaConfig(audio_config=encoder.config, text_config=text, num_projector_layers=0)
    listener = MuLlamaModel(config)
    listener.audio_tower = encoder
    return listener.eval()


@torch.no_grad()
def write_layer_means(
    encoder: MertModel, extractor: MuLlamaFeatureExtractor, clips: np.ndarray, out: Path, batch_size: int = 50
) -> None:
    """Write the layer means of `clips` (clips, samples; int16) to `out`, float16 (clips, layers + 1, width)."""
    encoder.eval()
    shape = (len(clips), encoder.config.num_hidden_layers + 1, encoder.config.hidden_size)
    partial = out.with_suffix(".partial.npy")
    layer_means = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    for start in tqdm(range(0, len(clips), batch_size), desc="hearing", disable=None):
        waveforms = clips[start : start + batch_size].astype(np.float32) / 32768
        inputs = extractor(list(waveforms), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        layer_means[start : start + batch_size] = encoder(inputs["input_values"][:, 0]).layer_means.numpy()
    layer_means.flush()
    partial.replace(out)


class FeatureCache:
    """A finished feature folder: `layer_means`, memory-mapped, and `row_of`, from a clip's id to its row.

    Raises DataError where the folder is missing, unfinished, or was heard by another encoder than `fingerprint`.
    """

    def __init__(self, folder: str | Path, fingerprint: str):
        folder = Path(folder)
        if not (folder / "features.json").is_file():
            state = "is not finished: run the same command again" if folder.is_dir() else "does not exist"
            raise DataError(f"{folder}: {state} (`mullama data features` makes it)")
        self.facts = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        if self.facts["encoder"] != fingerprint:
            raise DataError(
                f"{folder}: its features were heard by another encoder ({self.facts['encoder'][:12]}, of "
                f"{self.facts['model']}) than this model's ({fingerprint[:12]}): make them anew, in another folder"
            )
        self.layer_means = np.load(folder / "layer_means.npy", mmap_mode="r")
        lines = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
        self.row_of = {json.loads(line)["id"]: row for row, line in enumerate(lines)}


class LayerMeans:
    """The layer means of any number of caches end to end, indexed by lists of rows: (rows, layers + 1, width)."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.starts = [0]

    def add(self, layer_means: np.ndarray) -> int:
        """Put a cache at the end; returns its first row's number."""
        self.parts.append(layer_means)
        self.starts.append(self.starts[-1] + len(layer_means))
        return self.starts[-2]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, rows: list[int]) -> np.ndarray:
        where = np.searchsorted(self.starts, rows, side="right") - 1
        return np.stack([self.parts[part][row - self.starts[part]] for part, row in zip(where, rows, strict=True)])


@torch.no_grad()
def silence_means(model: MuLlamaForConditionalGeneration, processor: MuLlamaProcessor, seconds: float) -> np.ndarray:
    """Layer means of silence, (1, layers + 1, width) float16: what the paper plays to texts without music."""
    extractor = processor.feature_extractor
    silence = np.zeros(round(seconds * extractor.sampling_rate), np.float32)
    inputs = extractor([silence], return_tensors="pt").to(model.device)
    return model.get_audio_features(**inputs).layer_means.cpu().numpy().astype(np.float16)


def write_features(
    dataset: str, model: str, out: str | Path, split: str = "train", name: str | None = None, batch_size: int = 4
) -> dict:
    """
    Hear every clip of a dataset once, on all processes that Accelerate started.

    Args:
        dataset, split, name: As `load_dataset` takes them; rows of clips with `audio`, and `id` if it has one.
        model: Folder or Hub id of a MU-LLaMA, whose encoder hears, or of a MERT.
        out: The feature folder. What a killed run left there is taken up.
        batch_size: Clips encoded together.

    Returns the facts in `features.json`. Raises DataError: no audio, or more than 5 % of the clips cannot be read.
    """
    state = PartialState(
        cpu=not torch.accelerator.is_available()
    )  # or torchrun's CPU processes do not know each other
    out = Path(out)
    model_name = model
    encoder, extractor = load_encoder(model_name)
    model = _listener(encoder).to(state.device)
    clips = load_clips_of(dataset, split, name)
    ids = clip_ids(clips)
    wanted = {
        "encoder": encoder_fingerprint(encoder, extractor),
        "dataset": dataset,
        "split": split,
        "clips": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
    }
    if (out / "features.json").is_file():
        found = json.loads((out / "features.json").read_text(encoding="utf-8"))
        if any(found[key] != value for key, value in wanted.items()):
            raise DataError(f"{out} holds the features of another dataset or encoder: give another --out")
        return found
    parts = out / "parts"
    with state.main_process_first():
        _begin_parts(parts, wanted)

    starts = range(0, len(clips), CLIPS_A_PART)
    own = [start for start in starts if start // CLIPS_A_PART % state.num_processes == state.process_index]
    missing = [start for start in own if not (parts / f"{start:08}.npz").is_file()]
    for start in tqdm(missing, desc="hearing", unit=" x 32 clips", disable=None if state.is_main_process else True):
        end = min(start + CLIPS_A_PART, len(clips))
        _hear_part(model, extractor, clips, ids, range(start, end), parts / f"{start:08}.npz", batch_size)
    state.wait_for_everyone()
    with state.main_process_first():
        if state.is_main_process:
            _join_parts(parts, starts, len(clips), out, {**wanted, "model": str(model_name)})
    return json.loads((out / "features.json").read_text(encoding="utf-8"))


def _begin_parts(parts: Path, wanted: dict) -> None:
    """Take up what a killed run left, if it was of the same dataset and encoder."""
    begun = parts / "begun.json"
    if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) == wanted:
        return
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    begun.write_text(json.dumps(wanted), encoding="utf-8")


def _hear_part(model, extractor, clips, ids: list[str], rows: range, path: Path, batch_size: int) -> None:
    heard, heard_ids, unreadable, waveforms = [], [], [], []

    def hear() -> None:
        inputs = extractor(waveforms, return_tensors="pt").to(model.device)
        heard.append(model.get_audio_features(**inputs).layer_means.cpu().numpy().astype(np.float16))
        waveforms.clear()

    with torch.no_grad():
        for row in rows:
            try:
                waveforms.append(clip_audio(clips[row]["audio"], extractor.sampling_rate))
                heard_ids.append(ids[row])
            except AudioError as error:
                unreadable.append(f"{ids[row]}: {error}")
            if len(waveforms) == batch_size:
                hear()
        if waveforms:
            hear()
    means = np.concatenate(heard) if heard else np.zeros((0, 0, 0), np.float16)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, layer_means=means, ids=np.array(heard_ids, str), unreadable=np.array(unreadable, str))
    partial.replace(path)


def _join_parts(parts: Path, starts: range, clips: int, out: Path, facts: dict) -> None:
    """All parts as one memory-mappable file; `features.json` comes last, and says that it is whole."""
    loaded = [np.load(parts / f"{start:08}.npz", allow_pickle=False) for start in starts]
    unreadable = [str(line) for part in loaded for line in part["unreadable"]]
    (out / "unreadable.txt").write_text("".join(f"{line}\n" for line in unreadable), encoding="utf-8")
    if len(unreadable) > MAX_UNREADABLE * clips:
        raise DataError(
            f"{len(unreadable)} of {clips} clips cannot be read, more than {MAX_UNREADABLE:.0%}: {out}/unreadable.txt "
            f"tells why; the first: {unreadable[0]}"
        )
    ids = [str(clip) for part in loaded for clip in part["ids"]]
    shape = next(part["layer_means"].shape[1:] for part in loaded if len(part["ids"]))
    partial = out / "layer_means.partial.npy"
    joined = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(len(ids), *shape))
    row = 0
    for part in loaded:
        joined[row : row + len(part["ids"])] = part["layer_means"].reshape(-1, *shape)
        row += len(part["ids"])
    joined.flush()
    partial.replace(out / "layer_means.npy")
    (out / "clips.jsonl").write_text("".join(json.dumps({"id": clip}) + "\n" for clip in ids), encoding="utf-8")
    facts |= {"heard": len(ids), "unreadable": len(unreadable), "shape": list(shape), "dtype": "float16"}
    partial = out / "features.json.partial"
    partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    partial.replace(out / "features.json")
    shutil.rmtree(parts)


def main() -> None:
    """Command line of several processes: that of `mullama data features`, which is for one."""
    from mullama.cli import main as cli

    sys.exit(cli(["data", "features", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
