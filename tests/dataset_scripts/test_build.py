"""Datasets are built from real text and generated audio, out of folders and zips, broken files among them."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from mullama.dataset_scripts.audio_store import AudioStore, load_clip_audio
from mullama.dataset_scripts.build import build_dataset
from mullama.dataset_scripts.rows import RowError, make_row, read_qa, read_release
from mullama.processing.audio_io import AudioError

PAIRS = [{"question": "What is it?", "answer": "A tone.", "kind": "open"}]


@pytest.fixture(scope="module")
def released_audio(eval_musicqa, tone, tmp_path_factory) -> Path:
    """The 560 released names as short files, in a folder `audios`: one broken, one missing, one cut short."""
    folder = tmp_path_factory.mktemp("released") / "audios"
    names = list(dict.fromkeys(entry["audio_name"] for entry in json.loads(eval_musicqa.read_text())))
    contents = [tone(folder / "tone.wav", seconds=0.2, pitch=110 + 40 * turn) for turn in range(8)]
    (folder / "tone.wav").unlink()
    for turn, name in enumerate(names):
        (folder / name).write_bytes(contents[turn % 8])
    (folder / names[3]).write_bytes(b"RIFF nothing more")
    (folder / names[5]).unlink()
    (folder / names[7]).write_bytes(tone(folder / names[7], seconds=4.0)[:20_000])
    return folder


def test_the_whole_real_evaluation_set_from_a_zip(eval_musicqa, released_audio, tmp_path):
    packed = tmp_path / "audios.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(released_audio.iterdir()):
            file.write(path, f"audios/{path.name}")
        file.writestr("__MACOSX/._012542.wav", b"resource fork")
    out = tmp_path / "MusicQA"
    report = build_dataset(read_release([eval_musicqa]), out, packed)
    assert report.clips.total() == 560 and report.pairs.total() == 5040 and report.audio_clips.total() == 557
    assert {entry["id"]: entry["reason"].split(": ")[-1].split(" (")[0] for entry in report.left_out} == {
        "012545": "not audio that can be decoded",
        "012547": "no file 012547.wav",
        "012549": "breaks off, 20000 of 128044 bytes are there",
    }
    assert [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()] == report.left_out

    clips = datasets.load_dataset(str(out), split="test")
    assert len(clips) == 557
    assert set(clips.column_names) == {"id", "audio", "duration", "source", "license", "caption", "tags", "qa"}
    first = clips[0]
    assert first["id"] == "012542" and first["audio"]["path"] == "012542.wav" and first["duration"] == 0.2
    assert first["audio"]["bytes"] == (released_audio / "012542.wav").read_bytes()  # as found, not encoded anew
    assert first["source"] == "jamendo" and first["license"] == "cc-by-nc-sa-4.0"

    text = datasets.load_dataset(str(out), "text", split="test")
    released = json.loads(eval_musicqa.read_text())
    ours = [(f"{row['id']}.wav", pair["question"], pair["answer"]) for row in text for pair in row["qa"]]
    theirs = [(entry["audio_name"], *(turn["value"].strip() for turn in entry["conversation"])) for entry in released]
    assert ours == theirs
    assert sum(pair["kind"] == "template" for row in text for pair in row["qa"]) == 4 * 560


def test_processes_and_folders_give_the_same_files_as_one_and_a_zip(eval_musicqa, released_audio, tmp_path):
    digests = []
    for num_proc in (1, 2):
        out = tmp_path / f"by_{num_proc}"
        build_dataset(read_release([eval_musicqa]), out, released_audio, num_proc=num_proc, shard_bytes=1_500_000)
        files = sorted((out / "data").iterdir())
        assert [path.name for path in files] == [f"test-{number:05d}-of-00003.parquet" for number in range(3)]
        assert all(path.stat().st_size < 1_700_000 for path in files)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
        assert not list(tmp_path.glob(".*"))  # no draft is left
    assert digests[0] == digests[1]


def test_splits_of_several_sources_and_the_card(tone, tmp_path):
    audio = tmp_path / "audio"
    rows = []
    for clip, source, split in [("a", "musiccaps", None), ("b", "magnatagatune", None), ("a", "mine", "test")]:
        tone(audio / f"{source}_{clip}.flac", channels=2, rate=44_100)
        rows.append(
            make_row(clip, source, PAIRS, license="cc-by-sa-4.0", split=split, audio_names=[f"{source}_{clip}.mp3"])
        )
    rows[2]["license"] = "My own licence"
    qa = tmp_path / "qa.jsonl"
    qa.write_text("".join(json.dumps(row | {"llm": "org/llm-7b", "seed": 0}) + "\n" for row in rows))
    out = tmp_path / "mine"
    build_dataset(read_qa(qa), out, audio)
    for split in ("pretrain", "finetune", "test"):
        (row,) = datasets.load_dataset(str(out), split=split, streaming=True)
        assert row["audio"]["path"].endswith(".flac")  # found under another ending
    card = datasets.load_dataset_builder(str(out))
    assert card.config.name == "default" and datasets.get_dataset_config_names(str(out)) == ["default", "text"]
    told = (out / "README.md").read_text()
    assert "- cc-by-sa-4.0\n- other\n" in told.split("---")[1]
    assert "| test | mine | 1 | 1 | 1 | 0.0 |" in told and "| mine | My own licence |" in told
    assert "not redistributable" in told and "org/llm-7b" in told and "- *What is it?* A tone." in told


def test_flac_is_an_option(tone, tmp_path):
    tone(tmp_path / "audio" / "a.wav", seconds=1.0, rate=44_100, channels=2)
    rows = [make_row("a", "mine", PAIRS, split="test", audio_names=["a.wav"])]
    for options, rate in [({"flac": True}, 24_000), ({"sampling_rate": 16_000}, 16_000)]:
        out = tmp_path / str(rate)
        build_dataset(rows, out, tmp_path / "audio", **options)
        (row,) = datasets.load_dataset(str(out), split="test", streaming=True)
        (tmp_path / "back.flac").write_bytes(row["audio"]["bytes"])
        wave, found = soundfile.read(tmp_path / "back.flac")
        assert (found, wave.shape, row["audio"]["path"]) == (rate, (rate,), "a.flac")
        spectrum = np.abs(np.fft.rfft(wave))
        assert np.argmax(spectrum) == 220 and row["duration"] == 1.0


def test_text_alone_when_there_is_no_audio(tmp_path):
    out = tmp_path / "text_only"
    report = build_dataset([make_row("a", "musiccaps", PAIRS)], out)
    assert report.audio_clips.total() == 0 and not report.left_out and not (out / "data").exists()
    (row,) = datasets.load_dataset(str(out), split="pretrain", streaming=True)
    assert row["qa"] == PAIRS and row["duration"] is None and "audio" not in row


def test_row_groups_are_small_however_large_the_shard(tone, tmp_path):
    data = tone(tmp_path / "audio" / "0.wav", seconds=20, rate=48_000)  # 1.9 MB
    for number in range(1, 12):
        shutil.copy(tmp_path / "audio" / "0.wav", tmp_path / "audio" / f"{number}.wav")
    rows = [make_row(str(number), "mine", PAIRS, split="test") for number in range(12)]
    build_dataset(rows, tmp_path / "out", tmp_path / "audio")
    parquet = pq.ParquetFile(next((tmp_path / "out" / "data").iterdir()))
    assert [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)] == [5, 5, 2]
    assert 8_000_000 < 5 * len(data) < 10_000_000


def test_what_is_wrong_is_told_and_nothing_is_left_behind(tone, tmp_path):
    rows = [make_row("a", "mine", PAIRS, split="test")]
    audio = tmp_path / "audio"
    audio.mkdir()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")

    def build(rows=rows, out=tmp_path / "out", audio=None, **options):
        return build_dataset(rows, out, audio, **options)

    for problem, call in {
        "is there and not empty": lambda: build(out=full),
        "no audio file in it": lambda: build(audio=audio),
        "no such file or folder": lambda: build(audio=tmp_path / "gone"),
        "neither a folder of audio files nor a whole zip": lambda: build(audio=tmp_path / "cut.zip"),
        "there is no row to build from": lambda: build(rows=[]),
        "the clip 'a' comes twice in split 'test'": lambda: build(rows=rows * 2),
        "clip 'a' has no split; give --split": lambda: build(rows=[make_row("a", "mine", PAIRS)]),
        "clip 'a' is of split 'dev'": lambda: build(rows=[make_row("a", "mine", PAIRS, split="dev")]),
    }.items():
        with pytest.raises(ValueError) as caught:
            call()
        assert problem in str(caught.value) and "\n" not in str(caught.value)
    tone(audio / "other.wav")
    with pytest.raises(ValueError, match="has usable audio for none of the 1 clips .*no file a"):
        build(audio=audio)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "cut.zip", "full"]
    assert (full / "thesis.txt").read_text() == "years of work"


def test_no_name_reaches_outside_the_folder(tone, tmp_path):
    tone(tmp_path / "secret.wav")
    tone(tmp_path / "audio" / "a.wav")
    store = AudioStore(tmp_path / "audio")
    for name in ("../secret.wav", str(tmp_path / "secret.wav"), "x/../../secret.wav"):
        assert store.find([name]) is None
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.write(tmp_path / "secret.wav", "../../evil.wav")
    assert AudioStore(tmp_path / "evil.zip").read("../../evil.wav") == (tmp_path / "secret.wav").read_bytes()
    assert not (tmp_path.parent / "evil.wav").exists()  # read in place, never unpacked


def test_audio_is_found_by_path_by_file_name_and_under_another_ending(tone, tmp_path):
    for name in ("x/one.mp3", "y/one.mp3", "y/two.flac", "[abc]-[30-40].wav"):
        tone(tmp_path / name)
    store = AudioStore(tmp_path)
    assert len(store) == 4
    assert store.find(["y/one.mp3"]) == "y/one.mp3"
    assert store.find(["one.mp3"]) is None  # two of that name: either might be wrong
    assert store.find(["00/two.mp3"]) == "y/two.flac"
    assert store.find(["abc.wav", "[abc]-[30-40].wav"]) == "[abc]-[30-40].wav"


def test_broken_audio_is_told_by_its_name(tone, tmp_path):
    good, flac = tone(tmp_path / "good.wav", seconds=2.0), tone(tmp_path / "good.flac", seconds=4.0)
    for name, content in {
        "text.wav": b"This is no audio at all, however it is called.",
        "empty.mp3": b"",
        "cut.wav": good[: len(good) // 2],
        "cut.flac": flac[: len(flac) // 2],
        "nan.wav": None,
    }.items():
        if content is None:
            soundfile.write(tmp_path / name, np.full(8_000, np.nan, dtype="float32"), 8_000, subtype="FLOAT")
        else:
            (tmp_path / name).write_bytes(content)
    store = AudioStore(tmp_path)
    names = ("good.wav", "text.wav", "empty.mp3", "cut.wav", "cut.flac", "nan.wav")
    found = {name: load_clip_audio(store, name) for name in names}
    assert found["good.wav"].error is None and found["good.wav"].duration == 2.0
    for name, problem in {
        "text.wav": "not audio that can be decoded",
        "empty.mp3": "empty",
        "cut.wav": "breaks off, 32022 of 64044 bytes are there",
        "cut.flac": "s of 4.00 s",
        "nan.wav": "every sample is NaN",
    }.items():
        assert found[name].error.startswith(f"{name}: ") and problem in found[name].error
        assert found[name].data == b""


def test_a_damaged_zip_member_is_left_out(tone, tmp_path):
    tone(tmp_path / "a.wav")
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "a.wav", "a.wav")
    damaged = bytearray(packed.read_bytes())
    damaged[200:260] = bytes(60)
    packed.write_bytes(damaged)
    clip = load_clip_audio(AudioStore(packed), "a.wav")
    assert clip.error.startswith("a.wav: cannot be read (")
    with pytest.raises(AudioError):
        AudioStore(packed).read("a.wav")


def test_a_file_that_no_row_can_hold_is_not_read(tmp_path):
    with (tmp_path / "day.wav").open("wb") as file:
        file.truncate(3_000_000_000)  # a hole on the disk
    clip = load_clip_audio(AudioStore(tmp_path), "day.wav")
    assert clip.error == "day.wav: 3.0 GB, more than a row can hold; cut it"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[", "not JSON"),
        ("{}", "not a list of conversations"),
        ('[{"audio_name": "a.wav"}]', "entry 0 is no `audio_name` with a `conversation`"),
        ('[{"audio_name": "a.wav", "conversation": [{"from": "human", "value": "Hm?"}]}]', "human and gpt in turn"),
        ('[{"audio_name": 5, "conversation": []}]', "human and gpt in turn"),
    ],
)
def test_a_broken_release_gets_one_clear_line(tmp_path, content, problem):
    path = tmp_path / "EvalMusicQA.json"
    path.write_text(content)
    with pytest.raises(RowError) as caught:
        list(read_release([path]))
    assert str(path) in str(caught.value) and problem in str(caught.value)


def test_releases_tell_their_split_by_their_name(eval_musicqa, tmp_path):
    for name, split, source in [
        ("PretrainMusicQA", "pretrain", "musiccaps"),
        ("FinetuneMusicQA", "finetune", "magnatagatune"),
    ]:
        path = tmp_path / f"{name}.json"
        shutil.copy(eval_musicqa, path)
        row = next(read_release([path]))
        assert (row["split"], row["source"], row["audio_names"]) == (split, source, ["012542.wav"])
    other = tmp_path / "other.json"
    shutil.copy(eval_musicqa, other)
    with pytest.raises(RowError, match="its name does not tell its split; give --split"):
        next(read_release([other]))
    assert next(read_release([other], "finetune"))["split"] == "finetune"


def test_an_unfinished_or_broken_qa_file_is_told(tmp_path):
    path = tmp_path / "qa.jsonl"
    with pytest.raises(RowError, match="no such file"):
        list(read_qa(path))
    (tmp_path / "qa.jsonl.partial").write_text("")
    with pytest.raises(RowError, match="not finished, qa.jsonl.partial holds what is done"):
        list(read_qa(path))
    for line, problem in [
        ("nothing", "not JSON"),
        ("[]", "not a row with an id"),
        ('{"id": "a", "qa": []}', "`qa` is not"),
        (json.dumps({"id": "a", "qa": PAIRS, "tags": "calm"}), "`tags` is not a list of texts"),
        (json.dumps({"id": "a", "qa": PAIRS, "caption": 5}), "`caption` is not text"),
    ]:
        path.write_text(f"\n{line}\n")
        with pytest.raises(RowError, match=f"line 2: {problem}"):
            list(read_qa(path))
