"""
Model folders as the Hub has them: weights, the code that loads them, processor, tokenizer, chat template, generation
defaults, card, and what Inference Endpoints run. A folder is written under a temporary name, renamed when it is whole.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .modeling_mullama import RELEASED_SAMPLING

MAX_SHARD_SIZE = "2GB"
# What an Inference Endpoint installs for `handler.py`.
ENDPOINT_REQUIREMENTS = "accelerate>=1.10\nsoundfile>=0.12.1\nsoxr>=0.5\ntransformers>=5.4,<6\n"


@contextmanager
def staged_folder(out_dir: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """
    Yields an empty folder beside `out_dir`, which takes its name if the block succeeds and vanishes if it fails.

    Raises `FileExistsError` if `out_dir` exists and is not an empty folder, unless `overwrite` lets it be replaced;
    it stays as it is until then.
    """
    out_dir = Path(out_dir).absolute()
    if not overwrite and out_dir.exists() and not (out_dir.is_dir() and not any(out_dir.iterdir())):
        raise FileExistsError(f"{out_dir} exists already: give another name, or move it away.")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", suffix=".tmp", dir=out_dir.parent))
    try:
        # One level down, because `mkdtemp` makes folders that no other user may read.
        staged = outer / "new"
        staged.mkdir()
        yield staged
        replaced = out_dir.rename(outer / "old") if out_dir.exists() else None
        try:
            staged.rename(out_dir)
        except OSError:
            if replaced is not None:
                replaced.rename(out_dir)
            raise
    finally:
        shutil.rmtree(outer)


def released_generation_config(tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """The sampling defaults of the released programs, with this tokenizer's special tokens."""
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **RELEASED_SAMPLING,
    )


def write_endpoint_files(folder: Path) -> None:
    """Writes what lets a MU-LLaMA's folder answer requests as an Inference Endpoint."""
    shutil.copyfile(Path(__file__).with_name("handler.py"), folder / "handler.py")
    (folder / "requirements.txt").write_text(ENDPOINT_REQUIREMENTS, encoding="utf-8")


def export_model_folder(
    model: PreTrainedModel,
    processor: ProcessorMixin | FeatureExtractionMixin,
    out_dir: str | Path,
    card: str,
    overwrite: bool = False,
) -> Path:
    """
    Writes a whole model folder, which loads with `trust_remote_code=True` where this package is not installed.

    Args:
        model: The model, with its `generation_config` as the folder's users shall have it. A `MertModel` goes too.
        processor: Its processor; for a `MertModel`, its feature extractor.
        out_dir: The folder to write.
        card: Text of the model card, README.md: see `mullama.model_card`.
        overwrite: Whether a folder that exists may be replaced.

    Returns `out_dir`. Raises `FileExistsError` if it exists and must not be replaced.
    """
    with staged_folder(out_dir, overwrite) as folder:
        model.save_pretrained(folder, max_shard_size=MAX_SHARD_SIZE)
        processor.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if model.config.model_type == "mullama":
            write_endpoint_files(folder)
    return Path(out_dir)


__all__ = [
    "MAX_SHARD_SIZE",
    "export_model_folder",
    "released_generation_config",
    "staged_folder",
    "write_endpoint_files",
]
