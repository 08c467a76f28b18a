"""The encoder probe, on MagnaTagATune's layout with music made on the fly: what a tag names is what sounds."""

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from mullama.cli import main
from mullama.evaluation.encoders import open_encoder
from mullama.evaluation.probe import (
    HEARD,
    UNREADABLE,
    Probe,
    clip_features,
    macro,
    probe,
    read_tagged_clips,
    tag_scores,
    to_markdown,
)
from mullama.processing import read_audio

RATE = 24_000
TAGS = ("high", "low", "loud", "quiet", "never", "test only")
FOLDERS = "0123456789abcdef"


def sound(tags: set[str], rng: np.random.Generator) -> np.ndarray:
    """A quarter of a second of what the tags say, with some noise."""
    hertz = rng.uniform(2000, 4000) if "high" in tags else rng.uniform(100, 300)
    level = 0.3 if "loud" in tags else 0.1
    time = np.arange(RATE // 4) / RATE
    return level * (np.sin(2 * np.pi * hertz * time) + 0.1 * rng.standard_normal(len(time)))


@pytest.fixture(autouse=True)
def own_stdin(monkeypatch):
    """pytest's is none that the command line can set up."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture(scope="module")
def magnatagatune(tmp_path_factory) -> Path:
    """240 clips, fifteen in each of the folders 0 to f; one breaks, one is missing, one has no tag at all."""
    folder, rng = tmp_path_factory.mktemp("magnatagatune"), np.random.default_rng(0)
    with (folder / "annotations_final.csv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        table.writerow(["clip_id", *TAGS, "mp3_path"])
        for number in range(240):
            name = f"{FOLDERS[number % 16]}/artist-{number}-29-58.mp3"
            tags = {rng.choice(["high", "low"]), rng.choice(["loud", "quiet"])}
            if number == 13:
                tags.add("test only")
            table.writerow([number + 2, *(int(tag in tags and number != 20) for tag in TAGS), name])
            (folder / name).parent.mkdir(exist_ok=True)
            if number == 40:
                (folder / name).write_bytes(b"")  # as three of MagnaTagATune's files are
            elif number != 41:
                soundfile.write(folder / name, sound(tags, rng), RATE, format="MP3")
    return folder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """Random encoders in their real classes, made once each."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, EncodecConfig, EncodecModel

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind in made:
            return made[kind]
        made[kind] = tmp_path_factory.mktemp("encoders") / kind
        torch.manual_seed(0)
        if kind == "encodec":
            shape = {
                "num_filters": 4,
                "hidden_size": 32,
                "codebook_size": 16,
                "codebook_dim": 32,
                "num_lstm_layers": 1,
            }
            EncodecModel(EncodecConfig(**shape)).save_pretrained(made[kind])
        else:
            audio = {"patch_embeds_hidden_size": 8, "depths": [1] * 4, "num_attention_heads": [1] * 4}
            audio |= {"hidden_size": 64, "enable_fusion": kind == "clap fused"}
            text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
            config = ClapConfig(audio_config=audio, text_config={"vocab_size": 50, **text}, projection_dim=32)
            ClapModel(config).save_pretrained(made[kind])
            ClapFeatureExtractor(truncation="fusion" if kind == "clap fused" else "rand_trunc").save_pretrained(
                made[kind]
            )
        return made[kind]

    return make


def test_the_published_layout_is_read(magnatagatune):
    clips = read_tagged_clips(magnatagatune)
    assert len(clips.files) == 239 and clips.missing == 1
    assert set(clips.tags) == {"high", "low", "loud", "quiet", "test only"}  # nobody has "never"
    by_file = dict(zip(clips.files, clips.split, strict=True))
    assert {by_file[name] for name in by_file if name[0] in "0123456789ab"} == {"train"}
    assert {by_file[name] for name in by_file if name[0] == "c"} == {"validation"}
    assert {by_file[name] for name in by_file if name[0] in "def"} == {"test"}
    assert clips.labels[clips.files.index("4/artist-20-29-58.mp3")].sum() == 0  # a clip without tags stays in


def test_an_encoder_that_hears_pitch_and_level_finds_the_tags(magnatagatune, tmp_path):
    clips = read_tagged_clips(magnatagatune)
    result = probe(open_encoder("logmel"), clips, tmp_path)
    assert result.clips == {"train": 178, "validation": 15, "test": 45}
    assert result.unreadable == ["8/artist-40-29-58.mp3"]
    assert set(result.tags) == {"high", "low", "loud", "quiet", "test only"}
    heard = {tag: scores["roc_auc"] for tag, scores in result.tags.items() if tag != "test only"}
    assert min(heard.values()) > 0.95, heard
    assert result.roc_auc == pytest.approx(np.mean([scores["roc_auc"] for scores in result.tags.values()]))
    again = probe(open_encoder("logmel"), clips, tmp_path)
    assert again == result  # the same seed, the same scores
    table = to_markdown([result], clips, 0)
    assert (
        "| logmel | 1 x 128 |" in table and "178 train, 15 validation, 45 test; 1 without audio, 1 unreadable" in table
    )


def test_tags_that_do_not_sound_are_not_found(magnatagatune, tmp_path):
    """What the scores rest on is the music: with another clip's labels they fall to guessing."""
    clips = read_tagged_clips(magnatagatune)
    labels = np.random.default_rng(1).permutation(clips.labels)
    result = probe(open_encoder("logmel"), replace(clips, labels=labels), tmp_path)
    guessed = [result.tags[tag]["roc_auc"] for tag in ("high", "low", "loud", "quiet")]
    assert np.mean(guessed) < 0.75


def test_scores_are_by_hand():
    labels = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]], bool)
    scores = np.array([[0.9, 0, 1], [0.8, 0, 2], [0.7, 0, 3], [0.1, 0, 4]])
    found = tag_scores(labels, scores, ["first", "everywhere", "last"])
    assert set(found) == {"first", "last"}
    assert found["first"] == {"roc_auc": 0.75, "average_precision": pytest.approx((1 + 2 / 3) / 2), "share": 0.5}
    assert found["last"] == {"roc_auc": 1.0, "average_precision": 1.0, "share": 0.25}
    assert macro(found, "roc_auc") == 0.875


def test_the_head_standardises_and_mixes_layers():
    features = np.random.default_rng(0).normal(5.0, 100.0, (50, 3, 8)).astype(np.float16)
    head = Probe(3, 8, 2)
    head.standardise(features)
    scaled = Probe(3, 8, 2)
    scaled.load_state_dict({**head.state_dict(), "mean": head.mean * 2, "spread": head.spread * 2})
    given = torch.from_numpy(features).float()
    torch.testing.assert_close(head.eval()(given), scaled.eval()(given * 2))  # an encoder's scale gives it nothing
    assert head.layer_mix().tolist() == pytest.approx([1 / 3] * 3)


def test_features_are_kept_and_a_killed_run_goes_on(magnatagatune, tmp_path):
    clips, encoder = read_tagged_clips(magnatagatune), open_encoder("logmel")
    whole, state = clip_features(encoder, clips, tmp_path / "whole", batch_size=8)
    assert (state == HEARD).sum() == 238 and (state == UNREADABLE).sum() == 1
    calls = 0

    def killed_after_three(waveforms: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return encoder.encode(waveforms)

    with pytest.raises(KeyboardInterrupt):
        clip_features(replace(encoder, encode=killed_after_three), clips, tmp_path / "part", batch_size=8)
    rest = []
    counting = replace(encoder, encode=lambda waveforms: (rest.append(len(waveforms)), encoder.encode(waveforms))[1])
    features, state = clip_features(counting, clips, tmp_path / "part", batch_size=8)
    assert sum(rest) <= 238 - 2 * 8  # what was done was not done again
    np.testing.assert_array_equal(features[state == HEARD], whole[state == HEARD])
    rest.clear()
    clip_features(counting, clips, tmp_path / "part", batch_size=8)
    assert rest == []


def test_the_embedded_models_encoder_is_heard_as_the_model_hears_it():
    from mullama import MuLlamaForConditionalGeneration, MuLlamaProcessor
    from mullama.model_info import EMBEDDED_MODEL

    audio = read_audio("spaces_app/examples/rendered_flute_tune.ogg")[: 24_000 * 7]
    encoder = open_encoder(str(EMBEDDED_MODEL))
    model = MuLlamaForConditionalGeneration.from_pretrained(EMBEDDED_MODEL).float()
    inputs = MuLlamaProcessor.from_pretrained(EMBEDDED_MODEL).feature_extractor([audio], return_tensors="pt")
    with torch.no_grad():
        expected = model.get_audio_features(**inputs).layer_means[0]
    torch.testing.assert_close(torch.from_numpy(encoder.mean_features([audio], 4))[0], expected, rtol=1e-3, atol=1e-3)


def test_a_released_mert_is_an_encoder(release):
    encoder = open_encoder(str(release / "release" / "MERT"))
    assert (encoder.layers, encoder.width, encoder.window_seconds) == (5, 32, 60.0)


@pytest.mark.parametrize("kind", ["clap", "clap fused", "encodec"])
def test_audio_is_heard_whole_and_alike_in_any_company(encoder_folder, kind):
    encoder = open_encoder(str(encoder_folder(kind)))
    rng = np.random.default_rng(0)
    audios = [0.1 * rng.standard_normal(round(encoder.sampling_rate * s)).astype(np.float32) for s in (10, 12, 0.01)]
    together = encoder.mean_features(audios, 4)
    assert together.shape == (3, 1, 32) and np.isfinite(together).all()
    for audio, vectors in zip(audios, together, strict=True):
        np.testing.assert_allclose(encoder.mean_features([audio], 1)[0], vectors, rtol=1e-3, atol=1e-4)
    parts = encoder.mean_features(
        [audios[1][: 10 * encoder.sampling_rate], audios[1][10 * encoder.sampling_rate :]], 4
    )
    np.testing.assert_allclose(together[1], (10 * parts[0] + 2 * parts[1]) / 12, rtol=1e-3, atol=1e-4)


def test_the_command_gives_a_table_of_all_encoders(magnatagatune, encoder_folder, tmp_path, capsys):
    encoders = ["logmel", str(encoder_folder("encodec"))]
    command = ["evaluate", "probe", "--data", str(magnatagatune), "--out", str(tmp_path), "--device", "cpu"]
    assert main([*command, "--encoder", *encoders]) == 0
    out, err = capsys.readouterr()
    assert out == (tmp_path / "probe.md").read_text()
    assert "1 clips have no audio" in err and "1 clips cannot be read" in err and "8/artist-40-29-58.mp3" in err
    results = json.loads((tmp_path / "probe.json").read_text())
    assert [result["encoder"] for result in results] == encoders
    assert f"| logmel | 1 x 128 | {results[0]['roc_auc']:.3f} | {results[0]['average_precision']:.3f} |" in out
    assert "| *guessing* | - | 0.500 |" in out


def test_bad_input_is_one_clear_line(magnatagatune, tmp_path, capsys):
    def layout(name: str, *without: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in magnatagatune.iterdir():
            if path.name not in without:
                (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
        return folder

    elsewhere = layout("elsewhere")
    table = (elsewhere / "annotations_final.csv").read_text().replace('"0/artist-0', '"songs/artist-0')
    (elsewhere / "annotations_final.csv").write_text(table)
    no_audio = layout("no audio", *FOLDERS)
    not_a_model = tmp_path / "no model"
    not_a_model.mkdir()
    (not_a_model / "config.json").write_text('{"model_type": "bert"}')
    for encoder, data, problem in [
        ("logmel", tmp_path / "nowhere", "no such file or folder"),
        ("logmel", layout("no table", "annotations_final.csv"), "holds no annotations_final.csv"),
        ("logmel", no_audio, "has audio of none of the 240 clips"),
        ("logmel", layout("no validation", "c"), "no audio of the validation split, folders c to c"),
        ("logmel", elsewhere, "not in one of MagnaTagATune's folders 0 to f"),
        (str(not_a_model), magnatagatune, "a 'bert' model; what can be probed"),
        (str(tmp_path / "no encoder"), magnatagatune, "no such model folder"),
    ]:
        out = tmp_path / "out"
        command = [
            "evaluate",
            "probe",
            "--encoder",
            encoder,
            "--data",
            str(data),
            "--out",
            str(out),
            "--device",
            "cpu",
        ]
        assert main(command) == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert problem in line and line.startswith("mullama: ")
        assert not out.exists()
