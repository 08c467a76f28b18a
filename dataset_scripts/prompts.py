"""
The two requests that MusicQA makes of a language model about a clip, in words of our own, and how replies are read.

(a) `describe`: answers to four fixed questions. (b) `open`: five questions with their answers. Where a server can be
held to a JSON schema the reply is JSON, otherwise numbered text; a reply is read in whichever form it came.
"""

import json
import re
from dataclasses import dataclass

from .sources import Clip

# The paper's, to the letter (section 3, and the released files).
TEMPLATE_QUESTIONS = (
    "Describe the audio",
    "Describe the audio in detail",
    "What do you hear in the audio?",
    "What can be inferred from the audio?",
)
OPEN_PAIRS = 5

_TASK = (
    "You write what a listener says about music. The listener has heard the piece and has seen no text about it, so "
    "never speak of tags, captions, lists or descriptions. Say only what the facts support: invent no title, artist, "
    "year or lyrics. Write plain English sentences, without headings or bold type."
)
_DESCRIBE = """What is known about a piece of music:
{facts}

The listener is asked:
{questions}

Write the listener's answers. The first takes one sentence; each of the others takes two to four sentences, the last of
them about what one may conclude, such as the mood, the occasion or the listeners it suits. No two answers are alike.
{form}"""
_OPEN = """What is known about a piece of music:
{facts}

Write {pairs} different questions that somebody could ask the listener about this audio, and the listener's full
answers of one to three sentences. Vary them: tempo, mood, instruments, voices, genre, rhythm, where the music would
fit, what it makes one think of - but ask only what the facts can answer. A question must not give its own answer away,
and must be none of these: {questions}.
{form}"""
_TEXT_FORMS = {
    "describe": "Reply with {count} numbered lines, `1.` to `{count}.`: an answer on each, nothing before or after.",
    "open": "Reply in exactly this form, numbered `1.` to `{count}.`, with nothing before or after:\n"
    "1. the question\nAnswer: the answer\n2. the next question\nAnswer: its answer",
}
_JSON_FORMS = {
    "describe": 'Reply with a JSON object {{"answers": [...]}} of {count} strings, in the order of the questions.',
    "open": 'Reply with a JSON object {{"pairs": [{{"question": ..., "answer": ...}}, ...]}} of {count} pairs.',
}


class ReplyError(ValueError):
    """A reply that cannot be used; says why in a few words."""


@dataclass(frozen=True)
class Request:
    """One request about one clip. `kind` is `describe` or `open`; `schema` is None for the numbered form."""

    kind: str
    messages: list[dict[str, str]]
    schema: dict | None


def build_request(clip: Clip, kind: str, structured: bool) -> Request:
    """The chat messages of request `kind` (`describe` or `open`) about a clip, and the schema a server is held to."""
    facts = [clip.caption] if clip.caption else []
    if clip.tags:
        facts.append(f"It is: {', '.join(clip.tags)}")
    count = len(TEMPLATE_QUESTIONS) if kind == "describe" else OPEN_PAIRS
    form = (_JSON_FORMS if structured else _TEXT_FORMS)[kind].format(count=count)
    if kind == "describe":
        questions = "\n".join(f"{number}. {text}" for number, text in enumerate(TEMPLATE_QUESTIONS, start=1))
        prompt = _DESCRIBE.format(facts="\n".join(facts), questions=questions, form=form)
    else:
        questions = "; ".join(TEMPLATE_QUESTIONS)
        prompt = _OPEN.format(facts="\n".join(facts), pairs=OPEN_PAIRS, questions=questions, form=form)
    messages = [{"role": "user", "content": f"{_TASK}\n\n{prompt}"}]  # not every chat template has a system turn
    return Request(kind, messages, _schema(kind, count) if structured else None)


def _schema(kind: str, count: int) -> dict:
    pair = {
        "type": "object",
        "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }
    name, items = ("answers", {"type": "string"}) if kind == "describe" else ("pairs", pair)
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": items, "minItems": count, "maxItems": count}},
        "required": [name],
        "additionalProperties": False,
    }


def read_reply(kind: str, text: str) -> list[dict[str, str]]:
    """
    The pairs of a reply to request `kind`: `[{"question", "answer", "kind": "template" | "open"}, ...]`.

    Raises:
        ReplyError: not the number of pairs asked for, an empty answer or one that breaks off, a question that comes
            twice, or words that only make sense to somebody who saw the request (its instructions, its tags).
    """
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    text = re.sub(r"^```\w*\n(.*?)\n?```$", r"\1", text, flags=re.DOTALL).strip()
    if not text:
        raise ReplyError("empty reply")
    found = (_read_json if text.startswith("{") else _read_numbered)(kind, text)
    count = len(TEMPLATE_QUESTIONS) if kind == "describe" else OPEN_PAIRS
    if len(found) != count:
        raise ReplyError(f"{len(found)} {'answers' if kind == 'describe' else 'pairs'} instead of {count}")
    if kind == "describe":
        pairs = [(question, _clean(answer)) for question, answer in zip(TEMPLATE_QUESTIONS, found, strict=True)]
        label = "template"
    else:
        pairs = [(_clean(question), _clean(answer)) for question, answer in found]
        label = "open"
    check_pairs(pairs, () if kind == "describe" else TEMPLATE_QUESTIONS)
    return [{"question": question, "answer": answer, "kind": label} for question, answer in pairs]


def _read_json(kind: str, text: str) -> list:
    try:
        reply = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReplyError("broken JSON") from error
    items = reply.get("answers" if kind == "describe" else "pairs")
    if not isinstance(items, list):
        raise ReplyError("JSON of another form")
    if kind == "describe":
        if not all(isinstance(item, str) for item in items):
            raise ReplyError("JSON of another form")
        return items
    if not all(isinstance(item, dict) and all(isinstance(item.get(k), str) for k in _PAIR_KEYS) for item in items):
        raise ReplyError("JSON of another form")
    return [tuple(item[key] for key in _PAIR_KEYS) for item in items]


_PAIR_KEYS = ("question", "answer")
# `1.`, `2)`, `**3.**`, `Q4:`, `Question 5:` at the beginning of a line.
_NUMBER = re.compile(
    r"^[ \t]*(?:\*\*)?(?:(?:Q|Question|Answer)[ \t]*)?(\d{1,2})[ \t]*[.):](?:\*\*)?[ \t]*", re.M | re.I
)
_ANSWER = re.compile(r"(?:\n|(?<=[?.!]))[ \t]*(?:\*\*)?(?:Answer|A)[ \t]*\d*[ \t]*:(?:\*\*)?[ \t]*", re.I)
_LABEL = re.compile(r"^[ \t]*(?:\*\*)?(?:Question|Q|Answer|A)[ \t]*:(?:\*\*)?[ \t]*", re.I)


def _read_numbered(kind: str, text: str) -> list:
    marks = list(_NUMBER.finditer(text))
    if kind == "open":  # `Answer 1:` belongs to the question before it
        marks = [mark for mark in marks if not mark.group().lstrip(" \t*").lower().startswith("answer")]
    if not marks:
        raise ReplyError("no numbered list")
    if [int(mark.group(1)) for mark in marks] != list(range(1, len(marks) + 1)):
        raise ReplyError("the list is not numbered 1, 2, 3, ...")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    items = [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
    if kind == "describe":
        return [_LABEL.sub("", item) for item in items]
    pairs = []
    for number, item in enumerate(items, start=1):
        parts = _ANSWER.split(item)
        if len(parts) != 2:
            raise ReplyError(f"pair {number} has {'no answer' if len(parts) == 1 else 'several answers'}")
        pairs.append((_LABEL.sub("", parts[0]), parts[1]))
    return pairs


def _clean(text: str) -> str:
    """One line, without the bold type and the quotes that models put around a whole sentence."""
    text = " ".join(text.replace("**", "").split())
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        text = text[1:-1].strip()
    return text


# Control characters, halves of surrogate pairs, what a decoder puts for bytes that are no text.
_BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
# Words of somebody who read about the music instead of hearing it.
_NAMES_TAGS = re.compile(
    r"\b(hash)?tag(s|ged|ging)?\b|\b(captions?|metadata|keywords?|aspect list|list of (words|terms))\b"
    r"|\b(given|provided|above|following|listed) (text|descriptions?|information|facts|list|words|terms)\b"
    r"|\b(descriptions?|information|facts|list|words|terms) (given|provided|above|listed)\b"
    r"|\b(based on|according to|from|by|in) the (given |provided |genre )?(descriptions?|facts|list|text)\b",
    re.I,
)
# Words of the request, or of an assistant that speaks to whoever made it.
_INSTRUCTION = re.compile(
    r"\bas an ai\b|\blanguage model\b|\bjson\b|\bnumbered (list|lines?)\b|\bquestion[- ](and[- ])?answer pairs?\b"
    r"|^(sure|certainly|of course|okay)\b|\bhere (are|is) (the|your|my|some|four|five)\b"
    r"|\blet me know\b|\bi hope this\b"
    r"|\b(the|your|this) (prompt|request)\b|\b(i'm|i am) sorry\b|\bi (cannot|can't|am unable to)\b"
    r"|\bthe (first|next) question\b|\bthe listener('s)? (is asked|answers)\b|\bits answer\b|###|\[/?inst\]|<\|",
    re.I,
)


# At least one of these is in every match of the patterns above.
_TAG_WORDS = "tag,caption,metadata,keyword,list,description,text,information,facts,words,terms".split(",")
_INSTRUCTION_WORDS = (
    "as an ai,language model,json,numbered,question,sure,certainly,of course,okay,here are,here is,let me know,"
    "hope this,prompt,request,sorry,cannot,can't,unable,listener,its answer,###,inst],<|"
).split(",")


def check_pairs(pairs: list[tuple[str, str]], other_questions: tuple[str, ...] = ()) -> None:
    """Raise `ReplyError` for the first pair that must not be learned from; `other_questions` are asked already."""
    asked = {_plain(question) for question in other_questions}
    for number, (question, answer) in enumerate(pairs, start=1):
        if _BROKEN.search(question + answer):
            raise ReplyError(f"pair {number} holds broken characters")
        if not _plain(question):
            raise ReplyError(f"question {number} is empty")
        if not _plain(answer):
            raise ReplyError(f"answer {number} is empty")
        if answer[-1].isalnum() or answer[-1] in ",;:-–—(":
            raise ReplyError(f"answer {number} breaks off")
        if _plain(question) in asked:
            raise ReplyError(f"question {number} is asked twice")
        if _plain(question) == _plain(answer):
            raise ReplyError(f"answer {number} repeats its question")
        asked.add(_plain(question))
        for text in (question, answer):
            low = text.lower()
            # Substrings are found far faster than patterns, and most texts hold none.
            if any(word in low for word in _TAG_WORDS) and (match := _NAMES_TAGS.search(text)):
                raise ReplyError(f"pair {number} names the tag list ({match.group()!r})")
            if any(word in low for word in _INSTRUCTION_WORDS) and (match := _INSTRUCTION.search(text)):
                raise ReplyError(f"pair {number} leaks the instruction ({match.group()!r})")


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
