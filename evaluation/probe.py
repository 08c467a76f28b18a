"""
Which encoder hears what? A frozen encoder, a small trained head, music tags: the paper's Table 1.

MagnaTagATune's 50 most frequent tags, its usual split by folder (0-b training, c validation, d-f test; clips without
any of the tags stay in). One head for all encoders: each layer standardised by the training clips, a learned mix of
the layers, an MLP; binary cross-entropy, Adam 1e-3, no weight decay, stopped when the validation ROC-AUC has not risen
for 5 epochs, the best epoch kept. Scores are macro ROC-AUC and average precision over the tags that some test clips
have and some have not. Features are computed once and kept, float16, so a run that was killed goes on.
"""

import copy
import hashlib
import json
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from tqdm import tqdm

from ..dataset_scripts.audio_store import AudioStore
from ..dataset_scripts.sources import SourceError, read_clips
from ..processing.audio_io import AudioError, read_audio
from .answering import model_digest
from .encoders import DEFAULT_MODELS, Encoder

TAGS = 50
SPLIT_FOLDERS = {"train": "0123456789ab", "validation": "c", "test": "def"}
HIDDEN, DROPOUT = 512, 0.2
LEARNING_RATE, BATCH_SIZE, PATIENCE, MAX_EPOCHS = 1e-3, 64, 5, 200
HEARD, UNREADABLE = 1, 2  # a clip's state in the kept features; 0 before
READERS = 2  # threads that decode, each a batch ahead


@dataclass(frozen=True)
class TaggedClips:
    """
    The clips to probe on.

    files: audio files' names in `store`; labels (`(clips, tags)`, bool); split: each clip's; tags: their names;
    missing: clips of the table whose audio is not there.
    """

    store: AudioStore
    files: list[str]
    labels: np.ndarray
    split: np.ndarray
    tags: list[str]
    missing: int


@dataclass(frozen=True)
class ProbeResult:
    """Scores of one encoder: on the test clips, and what they came from."""

    encoder: str
    model: str
    layers: int
    width: int
    roc_auc: float
    average_precision: float
    validation_roc_auc: float
    epochs: int
    layer_mix: list[float]
    tags: dict[str, dict[str, float]] = field(repr=False)
    clips: dict[str, int]
    unreadable: list[str]


def read_tagged_clips(data: str | Path) -> TaggedClips:
    """
    MagnaTagATune as it is published: `annotations_final.csv`, and the mp3 files in folders 0 to f below `data`.

    Raises:
        SourceError or AudioError: no such table, another layout, no audio, or a split without any.
    """
    root = Path(data)
    clips = read_clips("magnatagatune", root, minimum_tags=0)
    counts = Counter(tag for clip in clips for tag in clip.tags)
    tags = [tag for tag, _ in counts.most_common(TAGS)]
    if not tags:
        raise SourceError(f"{root}: its annotations_final.csv has no clip with a tag")
    store = AudioStore(root if root.is_dir() else root.parent)
    files, labels, split, missing = [], [], [], 0
    for clip in clips:
        folder = clip.audio_names[0].split("/")[0]
        found = [name for name, folders in SPLIT_FOLDERS.items() if len(folder) == 1 and folder in folders]
        if not found:
            raise SourceError(
                f"{root}: clip {clip.id} lies in {clip.audio_names[0]!r}, not in one of MagnaTagATune's folders 0 to f"
            )
        file = store.find(clip.audio_names)
        if file is None:
            missing += 1
            continue
        files.append(file)
        labels.append([tag in clip.tags for tag in tags])
        split.append(found[0])
    if not files:
        first = clips[0].audio_names[0]
        raise AudioError(f"{store.path}: has audio of none of the {len(clips)} clips, looked for {first} and so on")
    for name, folders in SPLIT_FOLDERS.items():
        if name not in split:
            raise AudioError(f"{store.path}: no audio of the {name} split, folders {folders[0]} to {folders[-1]}")
    return TaggedClips(store, files, np.array(labels), np.array(split), tags, missing)


def clip_features(
    encoder: Encoder, clips: TaggedClips, cache: str | Path, batch_size: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """
    The encoder's vectors of every clip, computed where they are not kept yet.

    Returns:
        Features `(clips, layers, width)`, float16, memory-mapped; and what became of each clip, HEARD or UNREADABLE.
    """
    model = DEFAULT_MODELS.get(encoder.name, encoder.name)
    key = json.dumps([model, model_digest(model), encoder.layers, encoder.width, clips.files])
    name = f"{Path(model).name}-{hashlib.blake2b(key.encode(), digest_size=6).hexdigest()}"
    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    features = _open_array(cache / f"{name}.npy", np.float16, (len(clips.files), encoder.layers, encoder.width))
    state = _open_array(cache / f"{name}.state.npy", np.uint8, (len(clips.files),))
    todo = np.flatnonzero(state != HEARD)  # what could not be read may have been repaired
    with (
        ThreadPoolExecutor(READERS) as pool,
        tqdm(total=len(state), initial=len(state) - len(todo), desc=encoder.name, unit="clip", disable=None) as bar,
    ):
        batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
        reading = deque(pool.submit(_read_all, clips, batch, encoder.sampling_rate) for batch in batches[:READERS])
        for number, batch in enumerate(batches):
            audios = reading.popleft().result()
            if number + READERS < len(batches):
                reading.append(pool.submit(_read_all, clips, batches[number + READERS], encoder.sampling_rate))
            heard = [row for row, audio in zip(batch, audios, strict=True) if audio is not None]
            if heard:
                features[heard] = encoder.mean_features([audio for audio in audios if audio is not None], batch_size)
            features.flush()  # before the state that says that they are there
            state[batch] = UNREADABLE
            state[heard] = HEARD
            state.flush()
            bar.update(len(batch))
    return features, np.array(state)


def _open_array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    if not path.exists():
        partial = path.with_name(f"{path.name}.partial")
        np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape).flush()
        partial.rename(path)
    return np.lib.format.open_memmap(path, mode="r+")


def _read_all(clips: TaggedClips, rows: np.ndarray, sampling_rate: int) -> list[np.ndarray | None]:
    """Each clip's audio, None where it cannot be read."""
    audios: list[np.ndarray | None] = []
    for row in rows:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what decodes of a file that breaks off is used
                data = clips.store.read(clips.files[row])
                audios.append(read_audio(data, sampling_rate=sampling_rate))
        except AudioError:
            audios.append(None)
    return audios


class Probe(nn.Module):
    """The head: `(batch, layers, width)` features to `(batch, tags)` logits."""

    def __init__(self, layers: int, width: int, tags: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(layers, width))
        self.register_buffer("spread", torch.ones(layers, width))
        self.layer_logits = nn.Parameter(torch.zeros(layers))
        self.mlp = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, tags))

    def standardise(self, features: np.ndarray) -> None:
        """Take mean and spread of the training clips' features, `(clips, layers, width)`."""
        self.mean.copy_(torch.from_numpy(features.mean(0, dtype=np.float32)))
        self.spread.copy_(torch.from_numpy(features.std(0, dtype=np.float32)).clamp(min=1e-6))

    def layer_mix(self) -> torch.Tensor:
        """Each layer's share, `(layers,)`."""
        return self.layer_logits.softmax(0)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of the tags."""
        standard = (features.float() - self.mean) / self.spread  # (batch, layers, width)
        return self.mlp(torch.einsum("blw,l->bw", standard, self.layer_mix()))


def tag_scores(labels: np.ndarray, scores: np.ndarray, tags: list[str]) -> dict[str, dict[str, float]]:
    """ROC-AUC, average precision and share of clips of each tag that some clips have and some have not."""
    return {
        tag: {
            "roc_auc": float(roc_auc_score(labels[:, at], scores[:, at])),
            "average_precision": float(average_precision_score(labels[:, at], scores[:, at])),
            "share": float(labels[:, at].mean()),
        }
        for at, tag in enumerate(tags)
        if 0 < labels[:, at].sum() < len(labels)
    }


def macro(scores: dict[str, dict[str, float]], metric: str) -> float:
    """The mean over tags."""
    return float(np.mean([score[metric] for score in scores.values()]))


def probe(
    encoder: Encoder,
    clips: TaggedClips,
    cache: str | Path,
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
) -> ProbeResult:
    """
    Probe an encoder: features, head, scores on the test clips.

    Args:
        cache (`str` or `Path`): Folder that keeps the features.
        seed (`int`): Of the head's first weights, its dropout and the order of clips.
        batch_size (`int`): Windows that are encoded together.

    Raises:
        AudioError: a split has no clip that can be read, or no tag can be scored in it.
    """
    features, state = clip_features(encoder, clips, cache, batch_size)
    rows = {name: np.flatnonzero((clips.split == name) & (state == HEARD)) for name in SPLIT_FOLDERS}
    for name, found in rows.items():
        if not len(found):
            raise AudioError(f"{clips.store.path}: no clip of the {name} split can be read")
        if name != "train" and not tag_scores(clips.labels[found], clips.labels[found], clips.tags):
            raise AudioError(f"{clips.store.path}: no tag that some of the {name} clips have and some have not")
    torch.manual_seed(seed)
    head = Probe(encoder.layers, encoder.width, len(clips.tags))
    head.standardise(features[rows["train"]])
    head.to(device)
    data = {name: torch.from_numpy(features[found]).to(device) for name, found in rows.items()}
    labels = {name: clips.labels[found] for name, found in rows.items()}
    epochs, validation = _train(head, data, labels, clips.tags, seed)
    scores = tag_scores(labels["test"], _predict(head, data["test"]), clips.tags)
    return ProbeResult(
        encoder=encoder.name,
        model=DEFAULT_MODELS.get(encoder.name, encoder.name),
        layers=encoder.layers,
        width=encoder.width,
        roc_auc=macro(scores, "roc_auc"),
        average_precision=macro(scores, "average_precision"),
        validation_roc_auc=validation,
        epochs=epochs,
        layer_mix=[round(share, 4) for share in head.layer_mix().tolist()],
        tags=scores,
        clips={name: len(found) for name, found in rows.items()},
        unreadable=[clips.files[row] for row in np.flatnonzero(state == UNREADABLE)],
    )


def _train(
    head: Probe, data: dict[str, torch.Tensor], labels: dict[str, np.ndarray], tags: list[str], seed: int
) -> tuple[int, float]:
    """Train the head and leave its best epoch's weights in it; that epoch, and its ROC-AUC on validation clips."""
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(seed)
    truth = torch.from_numpy(labels["train"]).float().to(head.mean.device)
    best, best_epoch, kept = -1.0, 0, None
    for epoch in range(1, MAX_EPOCHS + 1):
        head.train()
        for batch in torch.randperm(len(truth), generator=order).split(BATCH_SIZE):
            loss = nn.functional.binary_cross_entropy_with_logits(head(data["train"][batch]), truth[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = macro(tag_scores(labels["validation"], _predict(head, data["validation"]), tags), "roc_auc")
        if found > best:
            best, best_epoch, kept = found, epoch, copy.deepcopy(head.state_dict())
        elif epoch - best_epoch >= PATIENCE:
            break
    head.load_state_dict(kept)
    return best_epoch, best


@torch.inference_mode()
def _predict(head: Probe, features: torch.Tensor) -> np.ndarray:
    head.eval()
    return torch.cat([head(part) for part in features.split(4096)]).cpu().numpy()


def to_markdown(results: list[ProbeResult], clips: TaggedClips, seed: int) -> str:
    """The table, best encoder first, with what it was made from."""
    first = results[0]
    counts = ", ".join(f"{first.clips[name]:,} {name}" for name in SPLIT_FOLDERS)
    guess = macro(first.tags, "share")
    lines = [
        "| encoder | layers x width | ROC-AUC | AP | validation ROC-AUC | epoch |",
        "|---|---|---|---|---|---|",
        *(
            f"| {result.encoder} | {result.layers} x {result.width} | {result.roc_auc:.3f} | "
            f"{result.average_precision:.3f} | {result.validation_roc_auc:.3f} | {result.epochs} |"
            for result in sorted(results, key=lambda result: -result.roc_auc)
        ),
        f"| *guessing* | - | 0.500 | {guess:.3f} | 0.500 | - |",
        "",
        f"Clips: {counts}; {clips.missing:,} without audio, {len(first.unreadable):,} unreadable. Mean over "
        f"{len(first.tags)} of the {len(clips.tags)} most frequent tags"
        + (" (the others: all test clips alike)" if len(first.tags) < len(clips.tags) else "")
        + f". Frozen encoder, layer mix and MLP of {HIDDEN}, the same for all; seed {seed}.",
    ]
    return "\n".join(lines) + "\n"


def to_dict(result: ProbeResult) -> dict:
    """The result, ready for JSON."""
    return asdict(result)
