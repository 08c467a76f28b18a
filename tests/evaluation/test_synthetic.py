"""Evaluation on synthesised clips: through its command on a small random model, and its figures on known answers."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from mullama.dataset_scripts.synthetic.questions import sample_pair
from mullama.evaluation.synthetic import (
    EVEN_KINDS,
    against_bars,
    answer_questions,
    bootstrap_interval,
    evaluate_synthetic,
    main,
    plan_questions,
    score,
    to_markdown,
)
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory, truths_of):
    """Six clips of a second: tones with overtones, and a truth for each."""
    folder = tmp_path_factory.mktemp("test_a")
    time = np.arange(24_000) / 24_000
    tones = [sum(np.sin(2 * np.pi * f * n * time) / n for n in (1, 2, 3)) for f in (110, 150, 220, 300, 440, 660)]
    np.save(folder / "clips.npy", np.round(np.array(tones) * 8000).astype(np.int16))
    truths = truths_of(6)
    (folder / "truth.jsonl").write_text("".join(json.dumps(truth.to_dict()) + "\n" for truth in truths))
    return folder


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mullama.evaluation.synthetic", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_writes_the_same_figures_twice(model_folder, data_folder, tmp_path):
    features = tmp_path / "features.safetensors"
    done = run(
        "--model", model_folder, "--data", data_folder, "--out", tmp_path / "1", "--features", features, "--clips", 4
    )
    assert done.returncode == 0, done.stderr
    assert "| instrument |" in done.stdout and "NOT MET" in done.stdout
    evaluate_synthetic(str(model_folder), [data_folder], tmp_path / "2", clips=4, features=features)
    for name in ("results.json", "predictions.jsonl", "results.md"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "1" / "predictions.jsonl").read_text().splitlines()]
    assert {line["condition"] for line in lines} == {"seen", "unseen", "other", "second"}
    assert {line["kind"] for line in lines} >= {"instrument", "describe", "cannot_tell"}


def test_command_says_what_is_missing(model_folder, tmp_path, monkeypatch):
    arguments = ["--model", model_folder, "--data", tmp_path, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["synthetic", *map(str, arguments)])
    with pytest.raises(SystemExit, match=f"error: {tmp_path} is not a set of clips"):
        main()
    assert not (tmp_path / "out").exists()


def test_a_batch_of_questions_is_answered_as_one_by_one(model_folder, truths_of):
    model = MuLlamaForConditionalGeneration.from_pretrained(model_folder).eval()
    processor = MuLlamaProcessor.from_pretrained(model_folder)
    rng = random.Random(3)
    questions = [sample_pair(truth, rng).question for truth in truths_of(9)]
    embeds = torch.randn(9, model.config.text_config.hidden_size, generator=torch.Generator().manual_seed(0))
    together = answer_questions(model, processor, questions, embeds, 12)
    singly = [answer_questions(model, processor, [q], e[None], 12)[0] for q, e in zip(questions, embeds, strict=True)]
    assert together == singly


def test_a_question_after_another_is_asked_in_its_conversation(model_folder):
    model = MuLlamaForConditionalGeneration.from_pretrained(model_folder).eval()
    processor = MuLlamaProcessor.from_pretrained(model_folder)
    embeds = torch.randn(2, model.config.text_config.hidden_size, generator=torch.Generator().manual_seed(0))
    before = [{"role": "user", "content": "Drums?"}, {"role": "assistant", "content": "No."}]
    answers = answer_questions(model, processor, ["And?", "And?"], embeds[:1].repeat(2, 1), 12, before=[[], before])
    alone = answer_questions(model, processor, ["And?"], embeds[:1], 12)
    chat = [*before, {"role": "user", "content": "And?"}]
    inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    ids = model.generate(**inputs, audio_embeds=embeds[:1], max_new_tokens=12, do_sample=False)
    told = processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert answers == [*alone, told] and told != alone[0]


@pytest.fixture(scope="module")
def plan(truths_of):
    return plan_questions(truths_of(150), seed=5, without_audio=True)


def test_yes_no_questions_are_balanced_for_every_value(plan):
    for condition in ("seen", "unseen"):
        asked = [item.qa for item in plan if item.qa.kind == "yes_no" and item.condition == condition]
        assert len(asked) > 150
        for value in {(qa.topic, qa.asked) for qa in asked}:
            truths = [qa.expected for qa in asked if (qa.topic, qa.asked) == value]
            assert sum(truths) * 2 == len(truths), value


def test_another_clips_audio_is_never_ones_own(plan):
    assert all(item.heard != item.clip for item in plan if item.condition == "other")
    assert all(item.heard == item.clip for item in plan if item.condition in ("seen", "unseen"))
    assert all(item.heard is None for item in plan if item.condition == "none")
    seconds = [item for item in plan if item.condition == "second"]
    assert seconds and all(item.heard == item.clip and item.before.kind != item.qa.kind for item in seconds)


def test_true_answers_score_one_and_those_of_other_clips_score_chance(plan, truths_of):
    truths, rng = truths_of(150), random.Random(1)
    answers = []
    for item in plan:
        if item.condition in ("seen", "unseen", "second"):
            answers.append(item.qa.answer)
        elif item.qa.kind in EVEN_KINDS:  # a coin: heads is what was asked for
            value = item.qa.expected if rng.random() < 0.5 else not item.qa.expected
            answers.append("Yes." if value is True else "No." if value is False else item.qa.answer if value else "-")
        else:
            heard = truths[item.clip if item.heard is None else item.heard]
            answers.append(sample_pair(heard, rng, "seen", item.qa.kind).answer)
    figures = score(plan, answers, seed=0)
    for kind, row in figures["kinds"].items():
        assert row["seen"]["accuracy"] == row["unseen"]["accuracy"] == 1.0, kind
        if "other" in row:
            assert row["other"]["accuracy"] == pytest.approx(row["chance"], abs=0.15), kind
    assert set(figures["describe_recall"].values()) == set(figures["cannot_tell_topics"].values()) == {1.0}
    assert figures["false_cannot_tell"]["seen"]["accuracy"] == 0.0
    verdicts = against_bars(figures, 0)
    assert verdicts["instrument"] == {"unseen": True, "bar": True, "other": True}
    figures["met"] = verdicts
    assert "NOT MET" not in to_markdown({"sets": {"test_a": figures}})


def test_a_constant_answer_scores_the_majority_and_misses_the_bars(plan):
    figures = score(plan, ["It is a piano."] * len(plan), seed=0)
    assert figures["kinds"]["instrument"]["seen"]["accuracy"] < 0.15
    assert figures["kinds"]["instrument"]["by_value"]["piano"] == 1.0
    assert figures["kinds"]["yes_no"]["seen"]["accuracy"] < 0.1
    assert against_bars(figures, 0)["instrument"]["bar"] is False


def test_bootstrap_interval_covers_the_mean_and_narrows_with_clips():
    values = np.array([1.0, 0.0] * 50)
    low, high = bootstrap_interval(values, np.arange(100), seed=0)
    assert 0.38 < low < 0.45 and 0.55 < high < 0.62  # +- 1.96 * 0.05
    few_low, few_high = bootstrap_interval(np.repeat([1.0, 0.0, 1.0, 0.0], 25), np.repeat(np.arange(4), 25), seed=0)
    assert few_high - few_low > 3 * (high - low)  # a hundred answers about four clips tell little
