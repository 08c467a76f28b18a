"""Other sets in the form they are published in, through `datasets`, into a built one."""

import json

import datasets
import pytest
from mullama.dataset_scripts import (
    build_dataset,
    from_lp_musiccaps,
    from_music_instruct,
    from_musicbench,
    from_song_describer,
)
from mullama.dataset_scripts.rows import RowError


def test_music_instruct(tmp_path):
    """`music_instruct.json`: one object with the list QA, several questions a clip."""
    entry = {"sampling_rate": 44100, "is_audioset_eval": False, "start_s": 30, "end_s": 40}
    pairs = [
        entry | {"ytid": "-0Gj8-vB1q4", "question": "What is the mood? ", "answer": "Sad and soulful."},
        entry | {"ytid": "-0SdAVK79lg", "question": "Is it fast?", "answer": "No.", "is_audioset_eval": True},
        entry | {"ytid": "-0Gj8-vB1q4", "question": "Who sings?", "answer": "A woman, softly."},
    ]
    path = tmp_path / "music_instruct.json"
    path.write_text(json.dumps({"QA": pairs}))
    published = datasets.load_dataset("json", data_files=str(path), field="QA", split="train")
    first, second = from_music_instruct(published)
    assert (first["id"], first["split"], first["audio_names"]) == ("-0Gj8-vB1q4", "pretrain", ["-0Gj8-vB1q4.wav"])
    assert first["qa"] == [
        {"question": "What is the mood?", "answer": "Sad and soulful.", "kind": "open"},
        {"question": "Who sings?", "answer": "A woman, softly.", "kind": "open"},
    ]
    assert (second["split"], second["license"]) == ("test", "cc-by-nc-4.0")


def test_lp_musiccaps(tmp_path):
    """LP-MusicCaps-MC and -MTT, Parquet files with a list of tags and four written captions."""
    captions = {
        "caption_writing": "A slow ballad with strings and piano.",
        "caption_summary": "A sad ballad.",
        "caption_paraphrase": "Strings and a soft voice.",
        "caption_attribute_prediction": "Fit for a Sunday service.",
    }
    mc = captions | {
        "fname": "[-0Gj8-vB1q4]-[30-40]",
        "ytid": "-0Gj8-vB1q4",
        "aspect_list": ["sad", "ballad"],
        "caption_ground_truth": "The low quality recording features a ballad song.",
        "is_crawled": True,
    }
    mtt = captions | {"track_id": "2", "title": "t", "tag_top50": ["slow"], "tag_top188": ["slow", "choral"]}
    mtt |= {"path": "f/a-01-0-29.mp3"}
    rows = []
    for name, entry in [("mc", mc), ("mtt", mtt)]:
        datasets.Dataset.from_list([entry]).to_parquet(tmp_path / f"{name}.parquet")
        rows += from_lp_musiccaps(
            datasets.load_dataset("parquet", data_files=str(tmp_path / f"{name}.parquet"))["train"]
        )
    first, second = rows
    assert [pair["question"] for pair in first["qa"]] == [
        "Describe the audio",
        "Describe the audio in detail",
        "What do you hear in the audio?",
        "What can be inferred from the audio?",
    ]
    assert first["qa"][0]["answer"] == "A sad ballad." and first["tags"] == ["sad", "ballad"]
    assert first["caption"].startswith("The low quality") and first["audio_names"][0] == "[-0Gj8-vB1q4]-[30-40].wav"
    assert (second["id"], second["tags"], second["audio_names"][0]) == ("2", ["slow", "choral"], "f/a-01-0-29.mp3")


def test_song_describer(tmp_path):
    """`song_describer.csv`: a row a caption, several a track."""
    path = tmp_path / "song_describer.csv"
    path.write_text(
        "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n"
        '859,1004034,"Energetic, electronic tune",True,0,368880,118196,34/1004034.mp3,202.5\n'
        "860,1004034,A dance track with a heavy beat,False,1,368880,118196,34/1004034.mp3,202.5\n"
        "990,1007274,Acoustic guitar and voice,True,1,429137,118548,74/1007274.mp3,140.2\n"
    )
    first, second = from_song_describer(datasets.load_dataset("csv", data_files=str(path), split="train"))
    assert (first["id"], first["split"], first["license"]) == ("1004034", "test", "cc-by-sa-4.0")
    assert first["audio_names"] == ["34/1004034.2min.mp3", "34/1004034.mp3"]
    assert [pair["answer"] for pair in first["qa"]] == [
        "Energetic, electronic tune",
        "A dance track with a heavy beat",
    ]
    assert [pair["question"] for pair in first["qa"]] == ["Describe the audio", "Describe the audio in detail"]
    assert len(second["qa"]) == 1


def test_musicbench_and_building_from_it(tone, tmp_path):
    """`MusicBench_train.json`: JSON lines, a row an augmented file."""
    entry = {
        "dataset": "MusicBench",
        "location": "data_aug2/-0SdAVK79lg_1.wav",
        "main_caption": "This mellow piece has an electric guitar. The chords are F#m, A. It is in F# minor.",
        "alt_caption": "This piece has an electric guitar.",
        "prompt_aug": "",
        "prompt_ch": "The chord progression in this song is F#m, A.",
        "prompt_bt": "The beat is 3.",
        "prompt_bpm": "The song goes at 90 beats per minute.",
        "prompt_key": "The key of this song is F# minor.",
        "beats": [[0.3, 0.9], [1.0, 2.0]],
        "bpm": 90.0,
        "chords": ["F#m", "A"],
        "chords_time": [0.4, 2.3],
        "key": ["F#", "minor"],
        "keyprob": [0.7],
        "is_audioset_eval_mcs": False,
    }
    path = tmp_path / "MusicBench_train.json"
    path.write_text(
        json.dumps(entry) + "\n" + json.dumps(entry | {"location": "data/x.wav", "alt_caption": None}) + "\n"
    )
    rows = list(from_musicbench(datasets.load_dataset("json", data_files=str(path), split="train")))
    assert (rows[0]["id"], rows[0]["license"]) == ("data_aug2/-0SdAVK79lg_1", "cc-by-sa-3.0")
    assert [(pair["question"], pair["kind"]) for pair in rows[0]["qa"]] == [
        ("Describe the audio", "template"),
        ("Describe the audio in detail", "template"),
        ("What is the tempo of the music?", "open"),
        ("What key is the music in?", "open"),
        ("Which chords does the music have?", "open"),
        ("How is the beat counted?", "open"),
    ]
    tone(tmp_path / "audio" / "data_aug2" / "-0SdAVK79lg_1.wav")
    tone(tmp_path / "audio" / "data" / "x.wav")
    report = build_dataset(rows, tmp_path / "bench", tmp_path / "audio")
    assert report.audio_clips == {("finetune", "musicbench"): 2} and report.pairs.total() == 11
    assert len(datasets.load_dataset(str(tmp_path / "bench"), split="finetune")) == 2


@pytest.mark.parametrize("adapt", [from_music_instruct, from_lp_musiccaps, from_song_describer, from_musicbench])
def test_another_files_rows_are_refused(adapt):
    with pytest.raises(RowError, match="no column .*is it the published file"):
        list(adapt([{"a": 1, "b": 2}]))
