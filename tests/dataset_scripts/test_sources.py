"""Sources are read as they are published."""

import csv
import json

import pytest
from mullama.dataset_scripts.sources import Clip, SourceError, read_clips


def test_the_real_musiccaps(musiccaps):
    clips = read_clips("musiccaps", musiccaps.parent)
    assert len(clips) == len({clip.id for clip in clips}) == 5521
    first = clips[0]
    assert first.id == "-0Gj8-vB1q4"
    assert first.caption.startswith("The low quality recording features a ballad song")
    assert first.tags[:2] == ("low quality", "sustained strings melody") and len(first.tags) == 7
    assert "[-0Gj8-vB1q4]-[30-40].wav" in first.audio_names
    assert (first.license, first.split) == ("cc-by-sa-4.0", "pretrain")
    assert sum(len(clip.tags) for clip in clips) == 58901
    assert read_clips("musiccaps", musiccaps) == clips  # the file itself is as good as its folder


@pytest.fixture
def magnatagatune(tmp_path):
    """Six of the 188 tag columns; every field in quotes, tabs between, as annotations_final.csv has it."""
    tags = ["no voice", "singer", "guitars", "guitar", "fast", "quick", "slow", "classical"]
    rows = [
        ("2", "01000100", "f/american_bach_soloists-heinrich_schutz-01-0-29.mp3"),
        ("6", "01110111", "f/american_bach_soloists-heinrich_schutz-01-30-59.mp3"),
        ("10", "11111111", "c/lvx_nova-lvx_nova-01-contimune-30-59.mp3"),
    ]
    path = tmp_path / "annotations_final.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerow(["clip_id", *tags, "mp3_path"])
        writer.writerows([clip, *marks, audio] for clip, marks, audio in rows)
    return path


def test_magnatagatune_takes_clips_with_five_tags(magnatagatune):
    clips = read_clips("magnatagatune", magnatagatune.parent)
    assert [clip.id for clip in clips] == ["6", "10"]
    assert clips[0] == Clip(
        id="6",
        source="magnatagatune",
        caption=None,
        tags=("singer", "guitars", "guitar", "quick", "slow", "classical"),
        audio_names=("f/american_bach_soloists-heinrich_schutz-01-30-59.mp3", "6.mp3"),
        license="cc-by-nc-sa-3.0",
        split="finetune",
    )


def test_magnatagatune_synonyms_merge_before_they_are_counted(magnatagatune):
    clips = read_clips("magnatagatune", magnatagatune, merge_synonyms=True)
    assert [clip.id for clip in clips] == ["6", "10"]
    assert clips[0].tags == ("singing", "guitar", "fast", "slow", "classical")


def test_jamendo_takes_its_first_ten_folders_and_five_tags(tmp_path):
    lines = [
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS",
        "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock\t" + "\t".join("abcde"),
        "track_0000901\tartist_000087\talbum_000149\t01/901.mp3\t212.7\tgenre---pop\tinstrument---piano\t"
        "instrument---voice\tmood/theme---happy\tmood/theme---film",
        "track_0001009\tartist_000087\talbum_000149\t09/1009.mp3\t212.7\tgenre---pop\tinstrument---piano",
    ]
    (tmp_path / "raw_30s_cleantags_50artists.tsv").write_text("\n".join(lines) + "\n")
    (clip,) = read_clips("jamendo", tmp_path)
    assert clip.id == "track_0000901"
    assert clip.tags == ("pop", "piano", "voice", "happy", "film")
    assert clip.audio_names[:2] == ("01/901.mp3", "01/901.low.mp3")
    assert clip.split == "test"


def test_a_file_of_ones_own(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        'file_name,tags,license\na/one.mp3,"calm; piano|slow",cc0-1.0\ntwo.flac,,\nthree.wav,"[\'x\']",\n'
    )
    with pytest.warns(UserWarning, match="1 lines have neither caption nor tags"):
        one, three = read_clips("csv", table)
    assert (one.id, one.tags, one.license, one.source) == ("a/one.mp3", ("calm", "piano", "slow"), "cc0-1.0", "mine")
    assert (three.tags, three.license, three.split) == (("x",), "unknown", None)

    lines = tmp_path / "mine.jsonl"
    lines.write_text(json.dumps({"id": "x", "caption": "Ein Ständchen – für Elise", "split": "test"}) + "\n\n")
    (clip,) = read_clips("csv", lines)
    assert (clip.caption, clip.split, clip.audio_names) == ("Ein Ständchen – für Elise", "test", ("x.wav",))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "x,y\n1,2\n", "line 2: neither a caption nor a tags column (found: x, y)"),
        ("a.csv", "id,caption\n1,a\n1,b\n", "the id '1' comes twice"),
        ("a.csv", "id,caption\n1\n", "line 2: not as many columns"),
        ("a.csv", "", "no usable clip"),
        ("a.csv", "id,tags\n1,\"['a', \"\n", "line 2: its list of tags is broken"),
        ("a.jsonl", '{"caption": "a"}\nnothing\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", '{"id": "a", "caption": "\\ud83d"}\n', "half a surrogate pair"),
        ("a.csv", b"id,caption\n1,\xff\xfe\n", "not a text table in UTF-8"),
    ],
)
def test_a_broken_file_gets_one_clear_line(tmp_path, name, content, problem):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError) as caught:
        read_clips("csv", path)
    assert str(path) in str(caught.value) and problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_for_the_source_is_told(tmp_path, musiccaps):
    with pytest.raises(SourceError, match="no such file or folder"):
        read_clips("musiccaps", tmp_path / "gone")
    with pytest.raises(SourceError, match="holds no annotations_final.csv"):
        read_clips("magnatagatune", tmp_path)
    with pytest.raises(SourceError, match="no column clip_id, mp3_path"):
        read_clips("magnatagatune", musiccaps)
    with pytest.raises(SourceError, match="its first line is not TRACK_ID"):
        read_clips("jamendo", musiccaps)
    with pytest.raises(SourceError, match="no source of that name"):
        read_clips("spotify", musiccaps)
