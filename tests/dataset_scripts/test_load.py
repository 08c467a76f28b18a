"""Built datasets load and stream with plain `datasets`, and a row a question with ours."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from mullama.dataset_scripts import load_musicqa, one_row_per_question
from mullama.dataset_scripts.build import build_dataset
from mullama.dataset_scripts.rows import make_row, read_release
from mullama.processing.audio_io import AudioError


@pytest.fixture(scope="module")
def built(eval_musicqa, tone, tmp_path_factory) -> Path:
    """The first 40 real clips with tones for audio, in four shards."""
    folder = tmp_path_factory.mktemp("load")
    rows = [row for row, _ in zip(read_release([eval_musicqa]), range(40), strict=False)]
    for turn, row in enumerate(rows):
        tone(folder / "audio" / row["audio_names"][0], seconds=0.1 + turn / 100, pitch=200 + turn)
    build_dataset(rows, folder / "MusicQA", folder / "audio", shard_bytes=120_000)
    assert len(list((folder / "MusicQA" / "data").iterdir())) == 4
    return folder / "MusicQA"


def ids(dataset) -> list[str]:
    return [row["id"] for row in dataset]


def test_plain_datasets_streams_without_torchcodec(built):
    """In a fresh process where torchcodec cannot be imported, and neither can this package."""
    script = (
        "import sys; sys.modules['torchcodec'] = None; sys.modules['mullama'] = None\n"
        "from datasets import load_dataset\n"
        # To the end: Arrow's threads, where they still read ahead, may hang an interpreter that ends.
        f"row = list(load_dataset({str(built)!r}, split='test', streaming=True))[0]\n"
        "print(row['id'], len(row['audio']['bytes']), row['audio']['path'], row['qa'][0]['question'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "012542 3244 012542.wav Describe the audio\n"


def test_a_stream_shuffles_resumes_and_splits_by_node(built):
    stream = datasets.load_dataset(str(built), split="test", streaming=True)
    everything = ids(stream)
    assert len(everything) == 40 == len(set(everything))

    shuffled = ids(stream.shuffle(seed=1, buffer_size=10))
    assert shuffled != everything and sorted(shuffled) == sorted(everything)
    assert shuffled == ids(stream.shuffle(seed=1, buffer_size=10))

    before = []
    for row in stream:
        before.append(row["id"])
        if len(before) == 17:
            state = json.loads(json.dumps(stream.state_dict()))
            break
    again = datasets.load_dataset(str(built), split="test", streaming=True)
    again.load_state_dict(state)
    assert before + ids(again) == everything

    parts = [ids(split_dataset_by_node(stream, rank, 2)) for rank in range(2)]
    assert all(parts) and sorted(parts[0] + parts[1]) == sorted(everything)


def test_a_row_a_question_streamed(built):
    stream = load_musicqa(built, "test", streaming=True)
    rows = list(stream.take(11))
    assert [row["id"] for row in rows] == ["012542"] * 9 + ["012543"] * 2
    first = rows[0]
    assert first["question"] == "Describe the audio" and first["kind"] == "template"
    assert first["audio"]["sampling_rate"] == 24_000
    array = first["audio"]["array"]
    assert array.dtype == np.float32 and array.shape == (2400,)
    assert np.argmax(np.abs(np.fft.rfft(array))) == 20  # 200 Hz
    assert rows[8]["audio"]["array"] is array  # decoded once for all nine
    user, assistant = first["messages"]
    assert user["content"][0] == {"type": "audio", "audio": array} or user["content"][0]["audio"] is array
    assert user["content"][1] == {"type": "text", "text": "Describe the audio"}
    assert assistant == {"role": "assistant", "content": [{"type": "text", "text": first["answer"]}]}

    state = None
    for number, row in enumerate(stream):
        if number == 12:
            state, last = stream.state_dict(), (row["id"], row["question"])
            break
    resumed = load_musicqa(built, "test", streaming=True)
    resumed.load_state_dict(state)
    rest = [(row["id"], row["question"]) for row in resumed]
    everything = [(row["id"], row["question"]) for row in load_musicqa(built, "test", streaming=True, decode=False)]
    assert everything[12] == last and rest == everything[13:]


def test_a_row_a_question_indexed(built):
    questions = load_musicqa(built, "test", sampling_rate=16_000)
    assert len(questions) == 360
    streamed = list(load_musicqa(built, "test", streaming=True, decode=False))
    for index in (0, 8, 9, 359):
        assert questions[index]["question"] == streamed[index]["question"]
        assert questions[index]["id"] == streamed[index]["id"]
    assert questions[359]["audio"]["array"].shape == (round(0.49 * 16_000),)
    batch = questions[8:10]
    assert batch["id"] == ["012542", "012543"]
    shuffled = questions.shuffle(seed=3)
    assert sorted(row["answer"] for row in shuffled) == sorted(row["answer"] for row in streamed)
    parts = questions.train_test_split(test_size=60, seed=0)
    assert (len(parts["train"]), len(parts["test"])) == (300, 60)
    assert "array" in parts["test"][0]["audio"]


def test_a_dataset_built_anew_is_not_taken_from_the_cache(tmp_path):
    for answer in ("Yes, it is.", "No, it is."):  # of one length, so that file sizes do not tell
        out = tmp_path / answer[:2].strip(",") / "Mine"
        build_dataset(
            [make_row("a", "mine", [{"question": "Is it?", "answer": answer, "kind": "open"}], split="test")], out
        )
        assert datasets.load_dataset(str(out), split="test")[0]["qa"][0]["answer"] == answer


def test_undecoded_and_text_only(built):
    row = load_musicqa(built, "test", decode=False)[0]
    assert set(row["audio"]) == {"bytes", "path"} and row["messages"][0]["content"][0] == {"type": "audio"}
    row = load_musicqa(built, "test", text_only=True)[0]
    assert "audio" not in row and row["messages"][0]["content"] == [{"type": "text", "text": "Describe the audio"}]


def test_audio_that_went_bad_is_told_with_its_clip(tone, tmp_path):
    pairs = [{"question": "What?", "answer": "That.", "kind": "open"}]
    clip = make_row("k9", "mine", pairs) | {"audio": {"bytes": b"no audio", "path": "k9.wav"}}
    for dataset in (datasets.Dataset.from_list([clip]), datasets.Dataset.from_list([clip]).to_iterable_dataset()):
        with pytest.raises(AudioError, match="clip 'k9'"):
            next(iter(one_row_per_question(dataset)))


def test_the_first_row_over_http_does_not_fetch_the_shard(tone, file_server, tmp_path):
    """Of 123 MB one of Arrow's 32 MiB ranges, and the next ahead of need; the benchmark takes 500 MB and a clock."""
    data = tone(tmp_path / "audio" / "0.wav", seconds=60, rate=16_000)
    for number in range(1, 64):
        (tmp_path / "audio" / f"{number}.wav").hardlink_to(tmp_path / "audio" / "0.wav")
    pairs = [{"question": "What?", "answer": "That.", "kind": "open"}]
    rows = [make_row(str(number), "mine", pairs, split="test") for number in range(64)]
    build_dataset(rows, tmp_path / "out", tmp_path / "audio")
    (shard,) = (tmp_path / "out" / "data").iterdir()
    server = file_server(shard.parent)
    script = (
        "import hashlib, os\n"
        "from datasets import load_dataset\n"
        f"rows = load_dataset('parquet', data_files='{server.root}/{shard.name}', split='train', streaming=True)\n"
        "print(hashlib.sha256(next(iter(rows))['audio']['bytes']).hexdigest(), flush=True)\n"
        "os._exit(0)"  # see above
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == hashlib.sha256(data).hexdigest(), done.stderr
    assert shard.stat().st_size > 120_000_000 and server.stats()[shard.name] < 80_000_000
