"""Whole folders captioned: every file once, in whatever form, however the run was cut, killed, shared or misused."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from mullama import captioning
from mullama.asking import load_asker
from mullama.caption_output import OutputError
from mullama.captioning import CaptionError, CaptionSettings, Share, caption_files, find_audio, finish, read_questions
from mullama.decoding import Windows, decode_ahead

COMMAND = str(Path(sys.executable).with_name("mullama"))
FORMATS = ("wav", "flac", "ogg", "mp3")
QUESTIONS = ("Is it a slow piece?", "Which instruments play?")
SMALL_ANSWERS = ("--max-new-tokens", 8, "--batch-size", 2, "--device", "cpu")


def write_songs(folder: Path, count: int, broken: int, seconds: tuple[float, float]) -> None:
    """Songs of mixed formats, rates, channels and lengths in two folders; some of them are no songs."""
    rng = np.random.default_rng(count)
    (folder / "more").mkdir(parents=True)
    for number in range(count):
        suffix = FORMATS[number % len(FORMATS)]
        path = folder / ("more" if number % 3 else ".") / f"{number:03}.{suffix}"
        if number * broken % count < broken:
            path.write_bytes(rng.bytes(2_000) if number % 2 else b"")
            continue
        rate, channels = int(rng.choice([8_000, 16_000, 24_000, 44_100, 48_000])), 1 + number % 2
        time_ = np.arange(round(rng.uniform(*seconds) * rate)) / rate
        notes = 110 * 2 ** (rng.integers(0, 24, 3) / 12)
        samples = sum(np.sin(2 * np.pi * note * time_) for note in notes) * rng.uniform(0.05, 0.3)
        soundfile.write(path, np.stack([samples] * channels, axis=1), rate)


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("collection") / "music"
    write_songs(folder, 12, 2, (1, 12))
    (folder / ".hidden.wav").write_bytes(b"not ours")
    (folder / "notes.txt").write_text("not music")
    return folder


@pytest.fixture(scope="module")
def settings(random_model) -> CaptionSettings:
    return CaptionSettings(str(random_model), QUESTIONS, per_window=True, max_new_tokens=8)


def caption(paths, out: Path, settings: CaptionSettings, **how) -> list[dict] | None:
    """Caption and finish; the rows, if they are JSON lines."""
    paths = [paths] if isinstance(paths, Path) else paths
    caption_files(paths, out, settings, device="cpu", **{"workers": 0, **how})
    finish(paths, out, settings, workers=0)
    return [json.loads(line) for line in out.read_text().splitlines()] if out.suffix == ".jsonl" else None


@pytest.fixture(scope="module")
def reference(music, settings, tmp_path_factory) -> Path:
    """The rows of one run, in one process."""
    out = tmp_path_factory.mktemp("reference") / "captions.jsonl"
    caption(music, out, settings)
    return out


@pytest.fixture(scope="module")
def rows(reference) -> list[dict]:
    return [json.loads(line) for line in reference.read_text().splitlines()]


def test_every_file_is_a_row_and_none_twice(rows, music):
    there = sorted(str(path) for path in music.rglob("*") if path.suffix[1:] in FORMATS and path.name[0] != ".")
    assert [row["audio"] for row in rows] == there and len(there) == 12
    broken = [row for row in rows if row["error"]]
    assert len(broken) == 2
    for row in broken:
        assert row["error"].startswith(row["audio"]) and row["caption"] is None
        assert row["qa"] == row["windows"] == []


def test_captions_and_answers_are_the_ones_of_files_asked_alone(rows, settings):
    asker = load_asker(settings.model, "cpu")
    for row in rows:
        if row["error"]:
            continue
        song = asker.hear(row["audio"])
        assert row["duration"] == pytest.approx(soundfile.info(row["audio"]).duration, abs=0.06)
        assert row["caption"] == asker.ask(song, "Describe the audio", 8)
        assert row["qa"] == [{"question": q, "answer": asker.ask(song, q, 8)} for q in QUESTIONS]
        for window in row["windows"]:
            assert window["caption"] == asker.ask(
                asker.hear(row["audio"], window["start"], window["end"]), "Describe the audio", 8
            )
        starts = [window["start"] for window in row["windows"]]
        assert starts == [5.0 * i for i in range(len(starts))]
        assert row["duration"] - 0.1 < row["windows"][-1]["end"] <= row["duration"]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (5, 2), (64, 3)])
def test_batches_and_workers_change_nothing(music, settings, reference, tmp_path, batch_size, workers):
    caption(music, tmp_path / "captions.jsonl", settings, batch_size=batch_size, workers=workers)
    assert (tmp_path / "captions.jsonl").read_bytes() == reference.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["captions.jsonl"]


def test_csv_is_flat(music, settings, rows, tmp_path):
    caption(music, tmp_path / "captions.csv", settings)
    with (tmp_path / "captions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["audio", "start", "end", "duration", "caption", *QUESTIONS, "error"]
    files, windows = [line for line in lines if not line["start"]], [line for line in lines if line["start"]]
    assert [(line["audio"], line["caption"] or None, line["error"] or None) for line in files] == [
        (row["audio"], row["caption"], row["error"]) for row in rows
    ]
    answers = [[pair["answer"] for pair in row["qa"]] or ["", ""] for row in rows]
    assert [[line[question] for question in QUESTIONS] for line in files] == answers
    assert [(line["audio"], float(line["end"]), line["caption"]) for line in windows] == [
        (row["audio"], window["end"], window["caption"]) for row in rows for window in row["windows"]
    ]


def test_parquet_holds_the_same(music, settings, rows, tmp_path):
    caption(music, tmp_path / "captions.parquet", settings)
    assert pyarrow.parquet.read_table(tmp_path / "captions.parquet").to_pylist() == rows


@pytest.fixture(scope="module")
def captioned(music, settings, tmp_path_factory) -> Path:
    """The dataset of the collection."""
    out = tmp_path_factory.mktemp("dataset") / "captioned"
    caption(music, out, settings)
    return out


def test_a_folder_is_a_dataset(captioned, music, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    from mullama.dataset_scripts import load_musicqa
    from mullama.model_card.push import dataset_push

    out = captioned
    heard = [row for row in rows if not row["error"]]
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == ["id", "audio", "duration", "source", "license", "caption", "tags", "qa"]
    for row, expected in zip(loaded, heard, strict=True):
        assert row["id"] == str(Path(expected["audio"]).relative_to(music)) and row["caption"] == expected["caption"]
        assert row["audio"]["bytes"] == Path(expected["audio"]).read_bytes()
        described = {"question": "Describe the audio", "answer": row["caption"], "kind": "template"}
        assert row["qa"] == [described, *(pair | {"kind": "open"} for pair in expected["qa"])]
    asked = load_musicqa(out, "train", cache_dir=str(tmp_path / "cache"))
    assert len(asked) == 3 * len(heard) and asked[0]["audio"]["array"].dtype == np.float32

    every = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert [row | {"audio": str(music / row["audio"])} for row in every] == rows
    pairs = [json.loads(line) for line in (out / "audiofolder" / "metadata.jsonl").read_text().splitlines()]
    assert [pair["text"] for pair in pairs] == [row["caption"] for row in heard]
    for pair, row in zip(pairs, heard, strict=True):
        assert (out / "audiofolder" / pair["file_name"]).samefile(row["audio"])  # takes no room of its own
    card = (out / "README.md").read_text()
    assert "10 audio files" in card and "2 files could not be heard" in card and "by ear by random" in card
    # Nothing tells where on this machine the files were.
    assert (
        all(str(music).encode() not in path.read_bytes() for path in out.glob("*/*.parquet"))
        and str(music) not in card
    )
    sent = dataset_push(out, "alice/captions").files
    assert {"README.md", "captions.jsonl"} < set(sent) and not any("audiofolder" in name for name in sent)
    assert [path.name for path in out.parent.iterdir()] == ["captioned"]


def test_trainers_of_text_to_music_load_the_audiofolder(captioned, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("torchcodec", reason="datasets' audiofolder needs torchcodec (make test EXTRAS=dev,codec)")
    folder = str(captioned / "audiofolder")
    pairs = datasets.load_dataset("audiofolder", data_dir=folder, split="train", cache_dir=str(tmp_path))
    heard = [row for row in rows if not row["error"]]
    assert pairs["text"] == [row["caption"] for row in heard]
    assert len(pairs[0]["audio"].get_all_samples().data[0])


def test_odd_and_bad_files_are_rows(audio_corpus, random_model, tmp_path):
    odd = {kind: path for kind, path in audio_corpus.odd.items() if kind != "an hour"}
    bad = {kind: path for kind, path in audio_corpus.bad.items() if kind not in ("missing", "directory")}
    settings = CaptionSettings(str(random_model), max_new_tokens=2)
    with pytest.warns(UserWarning, match="3 NaN or infinite samples taken as 0"):
        rows = caption([*odd.values(), *bad.values()], tmp_path / "captions.jsonl", settings)
    told = {row["audio"]: row for row in rows}
    for kind, path in odd.items():
        slack = 1.1 if kind.startswith("truncated") else 0.06
        assert told[str(path)]["error"] is None, kind
        assert told[str(path)]["duration"] == pytest.approx(audio_corpus.seconds[kind], abs=slack), kind
    for kind, path in bad.items():
        assert audio_corpus.words[kind] in told[str(path)]["error"], kind
    assert len(told) == len(odd) + len(bad)


def test_a_named_file_is_taken_whatever_it_is_called(music, tmp_path):
    song = next(music.rglob("*.wav"))
    odd = tmp_path / "song.backup"
    odd.write_bytes(song.read_bytes())
    (tmp_path / "Für Élise.WAV").write_bytes(song.read_bytes())
    names = [file.name for file in find_audio([tmp_path, odd, str(odd), tmp_path / "." / "song.backup"])]
    assert names == [str(tmp_path / "Für Élise.WAV"), str(odd)]


def test_a_name_that_is_no_text_is_written_as_text(random_model, music, tmp_path):
    song = next(path for path in music.rglob("*.wav") if path.stat().st_size > 5_000)
    for name, content in ((b"caf\xe9.wav", song.read_bytes()), (b"bad\xff.wav", b"")):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(content)
    out, settings = tmp_path / "captions.jsonl", CaptionSettings(str(random_model), max_new_tokens=2)
    bad, good = caption(tmp_path, out, settings)
    assert (bad["audio"], good["audio"]) == (f"{tmp_path}/bad\\udcff.wav", f"{tmp_path}/caf\\udce9.wav")
    assert good["caption"] is not None and bad["error"].startswith(f"{tmp_path}/bad\\udcff.wav: empty")


def test_shares_make_the_whole(music, settings, reference, tmp_path):
    """What three processes of Accelerate do, one after another; the last is begun, and done by two in the next run."""
    out = tmp_path / "captions.jsonl"
    run = partial(caption_files, [music], out, settings, device="cpu", workers=0)
    run(share=Share(0, 3))
    run(share=Share(2, 3))
    with pytest.raises(
        CaptionError, match="4 of 12 files have no row, the first is .*: if this runs on several nodes"
    ):
        finish([music], out, settings)
    written = [path.read_bytes() for path in sorted(tmp_path.glob("*.partial*")) if path.suffix != ".lock"]
    run(share=Share(0, 2))
    run(share=Share(1, 2))
    finish([music], out, settings)
    assert out.read_bytes() == reference.read_bytes() and len(list(tmp_path.iterdir())) == 1
    assert sum(text.count(b"\n") for text in written) == 2 + 8  # settings and rows: none was made twice


def test_a_run_goes_on_where_it_was(music, settings, reference, tmp_path, monkeypatch):
    """Stopped after one batch, with half a line of the next."""
    out, append = tmp_path / "captions.jsonl", captioning._append
    calls = []

    def stop_after_two(file, journal, entries):
        calls.append(len(entries))
        if len(calls) > 2:
            os.write(file.fileno(), b'{"audio": "hal')
            raise KeyboardInterrupt
        append(file, journal, entries)

    monkeypatch.setattr(captioning, "_append", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        caption(music, out, settings, batch_size=5, workers=1)
    assert not out.exists() and (tmp_path / "captions.jsonl.partial").read_bytes().count(b"\n") == 6
    monkeypatch.setattr(captioning, "_append", lambda *args: (calls.append(len(args[2])), append(*args)))
    caption(music, out, settings, batch_size=5)
    assert out.read_bytes() == reference.read_bytes()
    assert calls == [1, 5, 5, 5, 2]


def test_a_journal_of_half_a_line_is_an_empty_one(music, settings, tmp_path):
    song = next(music.rglob("*.ogg"))
    (tmp_path / "captions.jsonl.partial").write_text('{"settings": {"mod')
    first = caption(song, tmp_path / "captions.jsonl", settings)
    assert first == caption(song, tmp_path / "again.jsonl", settings)


def test_another_question_does_not_go_on(music, settings, tmp_path):
    out = tmp_path / "captions.jsonl"
    caption_files([music], out, settings, device="cpu", workers=0, share=Share(0, 12))
    for other in (
        replace(settings, questions=QUESTIONS[:1]),
        replace(settings, per_window=False),
        replace(settings, max_new_tokens=9),
        replace(settings, model=None),
    ):
        with pytest.raises(CaptionError, match=r"captions.jsonl.partial: begun with \w+ .*, now it is .*; go on with"):
            caption(music, out, other)
    (tmp_path / "captions.jsonl.partial").write_text("no JSON\n")
    with pytest.raises(CaptionError, match="captions.jsonl.partial, line 1: not a row"):
        caption(music, out, settings)


def test_what_cannot_be_done_is_one_line(music, settings, tmp_path):
    out = tmp_path / "captions.jsonl"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptionError, match="empty: no audio file there"):
        caption(tmp_path / "empty", out, settings)
    with pytest.raises(CaptionError, match="gone: no such file or folder"):
        caption([music, tmp_path / "gone"], out, settings)
    for name in ("captions.json", "captions.tsv"):
        with pytest.raises(OutputError, match=f"{name}: name a file that ends in .jsonl, .csv, .parquet, or a folder"):
            caption(music, tmp_path / name, settings)
    out.write_text("precious")
    with pytest.raises(CaptionError, match="captions.jsonl: exists already; move it away"):
        caption(music, out, settings)
    assert out.read_text() == "precious"
    with pytest.raises(CaptionError, match="empty.txt: cannot be read as a text of questions"):
        read_questions(tmp_path / "empty.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(CaptionError, match="empty.txt: holds no question"):
        read_questions(tmp_path / "empty.txt")
    (tmp_path / "two.txt").write_text("\ufeffIs it slow? \n\nIs it fast?\nIs it slow?\n", encoding="utf-8")
    assert read_questions(tmp_path / "two.txt") == ("Is it slow?", "Is it fast?")
    with pytest.raises(ValueError, match="the question is too long"):
        caption(music, tmp_path / "other.jsonl", replace(settings, questions=("slow " * 1_000,)))
    broken = [path for path in music.rglob("*") if path.is_file() and path.stat().st_size == 0]
    with pytest.raises(OutputError, match="none of the 1 files could be heard"):
        caption(broken[:1], tmp_path / "dataset", settings)


def test_what_came_to_be_meanwhile_is_not_replaced(music, settings, tmp_path):
    out, paths = tmp_path / "captioned", [next(music.rglob("*.flac"))]
    caption_files(paths, out, settings, device="cpu", workers=0)
    out.mkdir()
    (out / "precious").touch()
    with pytest.raises(OutputError, match="captioned: came to be while this ran; move it away"):
        finish(paths, out, settings)
    out.rename(tmp_path / "away")
    finish(paths, out, settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["away", "captioned"]


def test_two_at_once_are_refused(music, settings, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / "captions.jsonl.partial.lock"):
        with pytest.raises(CaptionError, match="another process is writing it"):
            caption(music, tmp_path / "captions.jsonl", settings)


def test_a_decoder_that_dies_costs_its_file_only(music, tmp_path):
    """A process that waits on a pipe is killed, as a decoder that crashes or takes all memory is."""
    songs = [path for path in sorted(music.rglob("*.wav")) if path.stat().st_size > 5_000][:2]
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    decoded = decode_ahead([songs[0], pipe, songs[1]], Windows(5.0, 24_000, 1_504), workers=1, ahead=4)
    ends = []
    for event in decoded:
        if event.window is None:
            ends.append((event.position, event.error))
            if len(ends) == 1:
                children = Path(f"/proc/self/task/{os.getpid()}/children")
                workers = [
                    pid
                    for task in Path("/proc/self/task").iterdir()
                    for pid in (task / children.name).read_text().split()
                ]
                (worker,) = [int(pid) for pid in workers if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
                time.sleep(0.2)  # until it has opened the pipe
                os.kill(worker, signal.SIGKILL)
    assert ends == [(0, None), (1, f"{pipe}: decoding it ended the decoder's process (status -9)"), (2, None)]


def test_processes_that_do_not_start_cost_no_file():
    """Processes import the program that starts them, which they cannot if it came through a pipe."""
    program = (
        "from mullama.decoding import *\n"
        "try:\n    list(decode_ahead(['a.wav', 'b.wav'], Windows(5.0, 24_000, 400), 1, 4))\n"
        "except DecoderError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True)
    assert done.stdout.startswith("a process that decodes ended as it began (status 1): decode with 0 workers")


HOUR = """
import resource, sys
from mullama.decoding import Windows, decode_ahead
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
events = [event.seconds for event in decode_ahead([sys.argv[1]], Windows(5.0, 24_000, 400), 1, 4)]
print(len(events), events[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_an_hour_is_decoded_in_the_memory_of_a_few_windows(audio_corpus):
    hour = str(audio_corpus.odd["an hour"])
    done = subprocess.run([sys.executable, "-c", HOUR, hour], capture_output=True, text=True)
    events, seconds, kilobytes = done.stdout.split()
    assert (int(events), float(seconds)) == (721, 3600.0), done.stderr
    assert int(kilobytes) < 60_000  # the whole is 345 MB


def run_command(*args: object, **how) -> subprocess.CompletedProcess:
    done = subprocess.run([COMMAND, "caption", *map(str, args)], capture_output=True, text=True, **how)
    assert "Traceback" not in done.stderr
    return done


def kill_after(lines: int, journal: Path, *args: object) -> None:
    """Start the command and kill it, as by `kill -9`, when its journal has so many lines."""
    with subprocess.Popen([COMMAND, "caption", *map(str, args)], stderr=subprocess.PIPE, text=True) as process:
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "args",
    [("music",), ("music", "--out", "a.csv", "--push-to-hub", "a/b"), ("music", "--out", "a.csv", "--workers", "-1")],
)
def test_wrong_usage_ends_with_2(args):
    done = run_command(*args)
    assert done.returncode == 2 and done.stderr.startswith("usage: mullama caption")


def test_killed_and_run_again_by_the_command(music, settings, tmp_path):
    plain = replace(settings, questions=(), per_window=False)
    caption(music, tmp_path / "expected.jsonl", plain, batch_size=2)
    out = tmp_path / "captions.jsonl"
    args = (music, "--out", out, "--model", settings.model, *SMALL_ANSWERS)
    kill_after(1, tmp_path / "captions.jsonl.partial", *args)
    assert not out.exists()
    done = run_command(*args)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"{out}: 12 files; 2 could not be heard (the first: ")
    assert out.read_bytes() == (tmp_path / "expected.jsonl").read_bytes()


def test_a_full_disk_is_one_line_and_the_command_goes_on(music, settings, tmp_path):
    caption(music, tmp_path / "expected.jsonl", settings, batch_size=2)
    (tmp_path / "questions.txt").write_text("\n".join(QUESTIONS))
    out = tmp_path / "captions.jsonl"
    args = (music, "--out", out, "--model", settings.model, *SMALL_ANSWERS)
    args += ("--questions", tmp_path / "questions.txt", "--per-window", "--workers", 0)
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2_500, 2_500))
    done = run_command(*args, preexec_fn=full)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert f"{out}.partial: cannot be written (File too large); what is there is kept" in done.stderr
    assert run_command(*args).returncode == 0
    assert out.read_bytes() == (tmp_path / "expected.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_300_files_killed_twice(tmp_path):
    """With the embedded model: nothing lost, nothing twice, the same as undisturbed."""
    write_songs(tmp_path / "music", 300, 10, (1, 9))
    args = ("music", "--batch-size", 8)
    out, journal = tmp_path / "captions.jsonl", tmp_path / "captions.jsonl.partial"
    where = {"cwd": tmp_path}
    for lines in (40, 150):
        with subprocess.Popen([COMMAND, "caption", *map(str, args), "--out", "captions.jsonl"], **where) as process:
            while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        assert not out.exists()
    done = run_command(*args, "--out", "captions.jsonl", **where)
    assert done.stdout.startswith("captions.jsonl: 300 files; 10 could not be heard"), done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == len({row["audio"] for row in rows}) == 300
    assert sum(row["error"] is not None for row in rows) == 10
    assert all(bool(row["caption"]) == (row["error"] is None) for row in rows)
    assert run_command(*args, "--out", "undisturbed.jsonl", **where).returncode == 0
    assert (tmp_path / "undisturbed.jsonl").read_bytes() == out.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_of_a_launcher_share_the_files(music, settings, tmp_path):
    caption(music, tmp_path / "expected.jsonl", replace(settings, questions=(), per_window=False))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    args = (music, "--out", "captions.jsonl", "--model", settings.model, "--max-new-tokens", 8)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launch, "-m", "mullama.cli", "caption", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("captions.jsonl: 12 files; 2 could not be heard") == 1
    assert (tmp_path / "captions.jsonl").read_bytes() == (tmp_path / "expected.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.jsonl", "expected.jsonl"]
