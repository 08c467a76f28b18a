"""Figures of a built dataset, against the same counted from the released file by hand."""

import json

import numpy as np
import pytest
from mullama.dataset_scripts.build import build_dataset
from mullama.dataset_scripts.rows import read_release
from mullama.dataset_scripts.stats import dataset_stats


def test_the_figures_of_the_real_evaluation_set(eval_musicqa, tmp_path):
    build_dataset(read_release([eval_musicqa]), tmp_path / "MusicQA")
    stats = dataset_stats(tmp_path / "MusicQA")
    answers = [len(entry["conversation"][1]["value"].split()) for entry in json.loads(eval_musicqa.read_text())]
    split = stats["splits"]["test"]
    assert (split["clips"], split["pairs"], split["clips_with_audio"]) == (560, 5040, 0)
    assert split["answer_words"]["mean"] == pytest.approx(np.mean(answers), abs=1e-9)
    assert split["answer_words"]["max"] == max(answers)
    assert "duration_seconds" not in split
    assert stats["sources"] == {"jamendo": 560} and stats["tags"] == {}
    assert stats["kinds"]["template"] == 2240
    assert stats["kinds"]["first_words"]["describe the"] == 1120


def test_a_broken_file_is_named(eval_musicqa, tmp_path):
    build_dataset(read_release([eval_musicqa]), tmp_path / "MusicQA")
    (path,) = (tmp_path / "MusicQA" / "text").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="test-00000-of-00001.parquet: broken"):
        dataset_stats(tmp_path / "MusicQA")
