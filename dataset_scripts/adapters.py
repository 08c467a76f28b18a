"""
Other music-language sets, row by row into this one's form: MusicInstruct, LP-MusicCaps, Song Describer, MusicBench.

Each function takes the published file's rows, as `datasets.load_dataset` or `csv.DictReader` gives them, and yields
rows for `build_dataset`. Captions become answers to the fixed questions that fit them.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from .prompts import TEMPLATE_QUESTIONS
from .rows import RowError, make_row

_DESCRIBE, _IN_DETAIL, _HEARD, _INFERRED = TEMPLATE_QUESTIONS


def from_music_instruct(rows: Iterable[dict], split: str | None = None) -> Iterator[dict]:
    """
    MusicInstruct (MusiLingo, arXiv 2309.08730): questions about MusicCaps' clips; CC-BY-NC-4.0.

    The published JSON is `{"QA": [{"ytid", "question", "answer", "is_audioset_eval", ...}]}`, so its rows come from
    `load_dataset("json", data_files=..., field="QA")`. Without `split`, AudioSet's evaluation clips are `test`, the
    rest is `pretrain`, as its authors say.
    """
    clips: dict[str, tuple[bool, list[dict]]] = {}
    for row in _checked(rows, "MusicInstruct", ("ytid", "question", "answer")):
        _, pairs = clips.setdefault(row["ytid"], (_is_true(row.get("is_audioset_eval")), []))
        pairs.append(_open(row["question"], row["answer"]))
    for ytid, (is_eval, pairs) in clips.items():
        yield make_row(
            ytid,
            "musicinstruct",
            pairs,
            license="cc-by-nc-4.0",
            split=split or ("test" if is_eval else "pretrain"),
            audio_names=[f"{ytid}.wav"],
        )


def from_lp_musiccaps(rows: Iterable[dict], split: str | None = None) -> Iterator[dict]:
    """
    LP-MusicCaps (arXiv 2307.16372): four captions a clip, written from tags; MIT.

    Takes the rows of LP-MusicCaps-MC (`ytid`, `fname`, `aspect_list`, `caption_ground_truth`), -MTT and -MSD
    (`track_id`, `path`, `tag_top188` or another tag list), all with `caption_writing`, `caption_summary`,
    `caption_paraphrase`, `caption_attribute_prediction`. Without `split`, clips are `finetune`.
    """
    questions = {
        "caption_summary": _DESCRIBE,
        "caption_writing": _IN_DETAIL,
        "caption_paraphrase": _HEARD,
        "caption_attribute_prediction": _INFERRED,
    }
    for row in _checked(rows, "LP-MusicCaps", ("caption_writing", "caption_summary", "caption_paraphrase")):
        clip_id = row.get("ytid") or row.get("track_id")
        if not clip_id:
            raise RowError("LP-MusicCaps: a row has neither ytid nor track_id; is it the published file?")
        tags = next((row[name] for name in ("aspect_list", "tag_top188", "tag_top50", "tag") if row.get(name)), [])
        pairs = [_template(question, row[name]) for name, question in questions.items() if row.get(name)]
        if not pairs:
            continue
        audio = row.get("path") or row.get("fname") or clip_id
        yield make_row(
            str(clip_id),
            "lp-musiccaps",
            pairs,
            license="mit",
            split=split or "finetune",
            caption=row.get("caption_ground_truth") or row["caption_writing"],
            tags=tags,
            audio_names=[audio if PurePosixPath(audio).suffix else f"{audio}.wav", f"{clip_id}.wav"],
        )


def from_song_describer(rows: Iterable[dict], split: str | None = None) -> Iterator[dict]:
    """
    The Song Describer Dataset (arXiv 2311.10057): people's captions of Jamendo tracks, up to five each; CC-BY-SA-4.0.

    Takes the rows of `song_describer.csv`: `caption_id, track_id, caption, is_valid_subset, familiarity, artist_id,
    album_id, path, duration`. It is made for evaluation: without `split`, clips are `test`.
    """
    tracks: dict[str, tuple[str, list[str]]] = {}
    for row in _checked(rows, "Song Describer", ("track_id", "caption", "path")):
        tracks.setdefault(str(row["track_id"]), (row["path"], []))[1].append(row["caption"].strip())
    questions = (_DESCRIBE, _IN_DETAIL, _HEARD)
    for track, (path, captions) in tracks.items():
        audio = PurePosixPath(path)
        yield make_row(
            track,
            "song-describer",
            [_template(questions[turn % len(questions)], caption) for turn, caption in enumerate(captions) if caption],
            license="cc-by-sa-4.0",
            split=split or "test",
            caption=captions[0],
            audio_names=[
                str(audio.with_suffix(".2min.mp3")),
                str(audio),
            ],  # the published audio is two minutes of each
        )


def from_musicbench(rows: Iterable[dict], split: str | None = None) -> Iterator[dict]:
    """
    MusicBench (Mustango, arXiv 2311.08355): MusicCaps, augmented, with tempo, key and chords in words; CC-BY-SA-3.0.

    Takes the rows of `MusicBench_train.json`, `_test_A.json`, `_test_B.json`: `location`, `main_caption`,
    `alt_caption`, `prompt_bpm`, `prompt_key`, `prompt_ch`, `prompt_bt`, ... Without `split`, clips are `finetune`.
    """
    facts = {
        "prompt_bpm": "What is the tempo of the music?",
        "prompt_key": "What key is the music in?",
        "prompt_ch": "Which chords does the music have?",
        "prompt_bt": "How is the beat counted?",
    }
    for row in _checked(rows, "MusicBench", ("location", "main_caption")):
        location = row["location"]
        pairs = [_template(_IN_DETAIL, row["main_caption"])]
        if row.get("alt_caption"):
            pairs.insert(0, _template(_DESCRIBE, row["alt_caption"]))
        pairs += [_open(question, row[name]) for name, question in facts.items() if (row.get(name) or "").strip()]
        yield make_row(
            str(PurePosixPath(location).with_suffix("")),
            "musicbench",
            pairs,
            license="cc-by-sa-3.0",
            split=split or "finetune",
            caption=row["main_caption"],
            audio_names=[location],
        )


def _checked(rows: Iterable[dict], name: str, required: tuple[str, ...]) -> Iterator[dict]:
    for row in rows:
        missing = [column for column in required if column not in row]
        if missing:
            raise RowError(
                f"{name}: no column {', '.join(missing)} (found: {', '.join(row)}); is it the published file?"
            )
        yield row


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _template(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer.strip(), "kind": "template"}


def _open(question: str, answer: str) -> dict[str, str]:
    return {"question": question.strip(), "answer": answer.strip(), "kind": "open"}
