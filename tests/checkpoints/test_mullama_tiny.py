"""The embedded model: its folder is whole and small, and it answers from the sound of pieces that it never heard."""

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from mullama.dataset_scripts.synthetic.questions import sample_pair
from mullama.evaluation.answers import read_answer
from mullama.evaluation.synthetic import answer_questions, encode_waveforms
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor, read_audio

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "checkpoints" / "mullama-tiny"
CODE = {
    "configuration_mert.py": "modeling_mullama",
    "modeling_mert.py": "modeling_mullama",
    "configuration_mullama.py": "modeling_mullama",
    "modeling_mullama.py": "modeling_mullama",
    "processing_mullama.py": "processing",
    "audio_io.py": "processing",
}


@pytest.fixture(scope="module")
def tiny():
    model = MuLlamaForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32).eval()
    return model, MuLlamaProcessor.from_pretrained(FOLDER)


def test_folder_is_whole_and_small():
    names = {path.name for path in FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert {"generation_config.json", "processor_config.json"} <= names
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 30_000_000
    auto_map = json.loads((FOLDER / "config.json").read_text())["auto_map"]
    assert {"AutoConfig", "AutoModel", "AutoModelForMultimodalLM"} <= set(auto_map)


@pytest.mark.parametrize("name", CODE)
def test_code_in_the_folder_is_the_package_s(name):
    assert (FOLDER / name).read_text() == (ROOT / CODE[name] / name).read_text()


def test_encoder_came_frozen_and_every_adapted_layer_hears(tiny):
    model, _ = tiny
    assert not any(parameter.requires_grad for parameter in model.model.audio_tower.parameters())
    gates = [layer.self_attn.audio_prefix.gate for layer in model.model.language_model.layers if layer.is_adapted]
    assert len(gates) == model.config.text_config.num_adapter_layers
    assert all(gate.abs().max() > 0.05 for gate in gates)


def ask(tiny, waveforms, questions: list[str]) -> list[str]:
    model, processor = tiny
    with torch.no_grad():
        means = torch.cat([encode_waveforms(model, processor, [waveform]) for waveform in waveforms])
        embeds = model.model.get_audio_embeds(audio_features=means)
        return answer_questions(model, processor, questions, embeds)


def test_true_answers_about_the_shipped_clips(tiny):
    truths = json.loads((ROOT / "spaces_app" / "examples" / "truth.json").read_text())
    for name, truth in truths.items():
        waveform = read_audio(ROOT / "spaces_app" / "examples" / name)
        for kind, (question, expected) in truth.items():
            (answer,) = ask(tiny, [waveform], [question])
            assert read_answer(kind, answer, kind) == expected, (name, question, answer)


def test_what_cannot_be_told_is_not_made_up(tiny):
    waveform = read_audio(sorted((ROOT / "spaces_app" / "examples").glob("*.ogg"))[0])
    questions = ["What key is it in?", "What is the time signature?", "What are the lyrics about?", "Who composed it?"]
    answers = ask(tiny, [waveform] * len(questions), questions)
    assert [read_answer("cannot_tell", answer) for answer in answers] == ["cannot tell"] * 4, answers


def test_it_hears_new_pieces_and_only_them(tiny, tmp_path):
    """60 clips of held-out pieces: far above chance on each clip's own sound, at chance on another's."""
    pytest.importorskip("music21", reason="rendering needs music21 (make test installs it)")
    pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont (make test installs it)")
    from mullama.dataset_scripts.synthetic.render import SOUNDFONTS, load_clips, render_set
    from mullama.dataset_scripts.synthetic.scores import corpus_files, parse_file

    if not SOUNDFONTS["csound"].is_file():
        pytest.skip("rendering needs Debian's csound-soundfont")
    files = [item for item in corpus_files() if "bwv1" in item[1]][:60:2] + corpus_files()[-140:-100:2]
    pieces = [piece for item in files for piece in parse_file(item) if piece.split == "test"]
    assert len(pieces) >= 3
    scores = tmp_path / "scores.jsonl"
    scores.write_text("".join(json.dumps(asdict(piece)) + "\n" for piece in pieces))
    render_set(scores, tmp_path / "test", 60, 11, ["csound"], "test")
    clips, truths = load_clips(tmp_path / "test")
    waveforms = [clip.astype(np.float32) / 32768 for clip in clips]
    pairs = [sample_pair(truth, random.Random(i), "unseen", "instrument") for i, truth in enumerate(truths)]
    own = ask(tiny, waveforms, [pair.question for pair in pairs])
    other = ask(tiny, waveforms[1:] + waveforms[:1], [pair.question for pair in pairs])
    right, wrong = (
        np.mean(
            [read_answer("instrument", answer) == pair.expected for answer, pair in zip(answers, pairs, strict=True)]
        )
        for answers in (own, other)
    )
    assert right >= 0.5 and wrong <= 0.25, (right, wrong)
