"""A dataset that `mullama data build` made of real files, and a way to run a recipe in this process."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("trl", reason="training needs the extra mullama[train]")

from mullama.dataset_scripts.build import build_dataset
from mullama.dataset_scripts.rows import make_row
from mullama.tests.dataset_scripts.conftest import write_tone

CLIPS = 16
SMALL = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 4,
    "max_steps": 3,
}


@pytest.fixture(autouse=True, scope="session")
def datasets_cache(tmp_path_factory):
    """What `datasets` prepares goes with the tests' other files, and is never found by a later run."""
    patch = pytest.MonkeyPatch()
    patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def musicqa(tmp_path_factory) -> Path:
    """16 tones with three questions each, all in the split `finetune`."""
    folder = tmp_path_factory.mktemp("musicqa")
    rows = []
    for number in range(CLIPS):
        write_tone(folder / "audio" / f"c{number}.wav", 0.3, 24_000, 110 * 1.1**number)
        pairs = [
            {"question": "Describe the audio", "answer": f"A tone of pitch {number}.", "kind": "template"},
            {"question": "Is it high?", "answer": "Yes, it is." if number > 8 else "No, it is low.", "kind": "open"},
            {"question": "Which wave is it?", "answer": "One with overtones.", "kind": "open"},
        ]
        rows.append(make_row(f"c{number}", "own", pairs, split="finetune", audio_names=[f"c{number}.wav"]))
    build_dataset(rows, folder / "built", folder / "audio")
    return folder / "built"


@pytest.fixture(scope="session")
def alpaca(tmp_path_factory) -> Path:
    """A text-only set in Alpaca's form, with and without input."""
    path = tmp_path_factory.mktemp("alpaca") / "alpaca.jsonl"
    rows = [
        {"instruction": f"Name number {n}.", "input": "In words." if n % 2 else "", "output": f"It is {n}."}
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def write_recipe(random_model, tmp_path):
    """Writes a recipe on the random model, with small defaults; returns its path."""

    def write(name: str = "recipe", **keys) -> Path:
        path = tmp_path / f"{name}.yaml"
        recipe = {**SMALL, "model": str(random_model), "output_dir": str(tmp_path / "out"), **keys}
        path.write_text(yaml.safe_dump({key: value for key, value in recipe.items() if value is not None}))
        return path

    return write


@pytest.fixture
def run_recipe(write_recipe):
    """Trains by a recipe in this process; returns the trainer."""
    from mullama.training.sft import make_parser, train

    def run(**keys):
        return train(*make_parser().parse_args_and_config(["--config", str(write_recipe(**keys))]))

    return run
