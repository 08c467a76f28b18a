"""Rendered clips as a dataset that `mullama evaluate` takes."""

import json

import numpy as np
import pytest
from mullama.dataset_scripts.synthetic.questions import KINDS
from mullama.evaluation.closed_form import closed_readers
from mullama.evaluation.held_out import build_held_out
from mullama.evaluation.references import open_clips, read_references, split_name


def test_a_rendered_set_becomes_a_dataset(truths_of, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    truths = truths_of(4)
    (clips / "truth.jsonl").write_text("".join(json.dumps(truth.to_dict()) + "\n" for truth in truths))
    samples = np.random.default_rng(0).integers(-9_000, 9_000, (4, 4_800), dtype=np.int16)
    np.save(clips / "clips.npy", samples)
    build_held_out(clips, tmp_path / "set", 3, seed=0)
    references = read_references(str(tmp_path / "set"))
    assert [r.track for r in references[:: len(KINDS)]] == [truth.id for truth in truths[:3]]
    assert {r.kind for r in references} == set(KINDS)
    assert set(closed_readers(references)) == set(KINDS) - {"describe"}
    heard = open_clips(f"{tmp_path / 'set'}:test").audio(truths[1].id)
    assert np.abs(heard - samples[1] / 32768).max() < 1e-4
    build_held_out(clips, tmp_path / "text", 4, text_only=True)
    with pytest.raises(ValueError, match="without audio"):
        open_clips(str(tmp_path / "text"))
    with pytest.raises(FileNotFoundError, match="not a rendered set"):
        build_held_out(tmp_path, tmp_path / "none", 3)
    with pytest.raises(ValueError, match="no split 'pretrain'"):
        read_references(f"{tmp_path / 'set'}:pretrain")


def test_splits_are_named_after_a_colon():
    assert split_name("org/MusicQA") == ("org/MusicQA", "test")
    assert split_name("org/MusicQA:finetune[:10%]") == ("org/MusicQA", "finetune[:10%]")
    assert split_name("a:b/folder") == ("a:b/folder", "test")
