"""Requests are built, and replies read or refused for a reason."""

import json
from collections import Counter

import pytest
from mullama.dataset_scripts.prompts import (
    TEMPLATE_QUESTIONS,
    ReplyError,
    build_request,
    check_pairs,
    read_reply,
)
from mullama.dataset_scripts.rows import read_release
from mullama.dataset_scripts.sources import Clip

CLIP = Clip("x", "musiccaps", "A {calm} harp plays.", ("harp", "slow"), (), "cc-by-sa-4.0", None)
ANSWERS = ["A calm harp plays.", "A harp plays slowly.\nIt rings.", "**A harp, close by.**", '"It suits an evening."']
PAIRS = [(f"What is thing {n}?", f"It is the thing {n}.") for n in range(1, 6)]


def numbered(items: list[str], form: str = "{}. ") -> str:
    return "\n".join(form.format(number) + item for number, item in enumerate(items, start=1))


def test_a_request_tells_the_facts_and_the_form():
    text, json_form = (build_request(CLIP, "describe", structured) for structured in (False, True))
    assert text.schema is None and text.messages[0]["role"] == "user"
    prompt = text.messages[0]["content"]
    assert "A {calm} harp plays.\nIt is: harp, slow" in prompt
    assert all(question in prompt for question in TEMPLATE_QUESTIONS)
    assert "JSON" not in prompt and "JSON" in json_form.messages[0]["content"]
    assert json_form.schema["properties"]["answers"]["minItems"] == 4
    pairs = build_request(CLIP, "open", True).schema["properties"]["pairs"]
    assert pairs["maxItems"] == 5 and pairs["items"]["required"] == ["question", "answer"]


@pytest.mark.parametrize(
    "text",
    [
        numbered(ANSWERS),
        numbered(ANSWERS, "{}) "),
        numbered(ANSWERS, "**{}.** "),
        numbered(ANSWERS, "Answer {}: "),
        "<think>1. Let me see.\nHm.</think>\n" + numbered(ANSWERS),
        "```\n" + numbered(ANSWERS) + "\n```",
        json.dumps({"answers": ANSWERS}),
        "```json\n" + json.dumps({"answers": ANSWERS}) + "\n```",
    ],
)
def test_four_answers_are_read_in_whichever_form(text):
    pairs = read_reply("describe", text)
    assert [pair["question"] for pair in pairs] == list(TEMPLATE_QUESTIONS)
    assert [pair["answer"] for pair in pairs] == [
        "A calm harp plays.",
        "A harp plays slowly. It rings.",
        "A harp, close by.",
        "It suits an evening.",
    ]
    assert {pair["kind"] for pair in pairs} == {"template"}


@pytest.mark.parametrize(
    "text",
    [
        numbered([f"{question}\nAnswer: {answer}" for question, answer in PAIRS]),
        numbered([f"{question} Answer: {answer}" for question, answer in PAIRS]),
        numbered([f"**{question}**\n   **Answer:** {answer}\n" for question, answer in PAIRS], "**{}.** "),
        "\n".join(f"Question {n}: {q}\nAnswer {n}: {a}" for n, (q, a) in enumerate(PAIRS, start=1)),
        "\n\n".join(f"Q{n}: {q}\nA{n}: {a}" for n, (q, a) in enumerate(PAIRS, start=1)),
        json.dumps({"pairs": [{"question": q, "answer": a} for q, a in PAIRS]}),
    ],
)
def test_five_pairs_are_read_in_whichever_form(text):
    pairs = read_reply("open", text)
    assert [(pair["question"], pair["answer"]) for pair in pairs] == PAIRS
    assert {pair["kind"] for pair in pairs} == {"open"}


def one_wrong(answer: str) -> str:
    return numbered([*ANSWERS[:3], answer])


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("describe", "", "empty reply"),
        ("describe", "<think>Hm.</think>", "empty reply"),
        ("describe", "A fine piece.", "no numbered list"),
        ("describe", numbered(ANSWERS[:3]), "3 answers instead of 4"),
        ("describe", numbered([*ANSWERS, "More."]), "5 answers instead of 4"),
        ("describe", "2. A.\n1. B.\n3. C.\n4. D.", "the list is not numbered 1, 2, 3, ..."),
        ("describe", one_wrong(""), "answer 4 is empty"),
        ("describe", one_wrong("..."), "answer 4 is empty"),
        ("describe", one_wrong("A harp, and then the"), "answer 4 breaks off"),
        ("describe", one_wrong("Based on the tags, it is calm."), "pair 4 names the tag list ('tags')"),
        ("describe", one_wrong("From the list of words it is calm."), "pair 4 names the tag list ('From the list')"),
        ("describe", one_wrong("It is calm, given the description provided."), "names the tag list"),
        ("describe", one_wrong("Sure! It is calm."), "pair 4 leaks the instruction ('Sure')"),
        (
            "describe",
            one_wrong("It is calm.\n\nLet me know if you need more!"),
            "leaks the instruction ('Let me know')",
        ),
        ("describe", one_wrong("As an AI I do not hear."), "leaks the instruction"),
        ("describe", one_wrong("It is calm.<|im_end|>"), "leaks the instruction"),
        ("describe", one_wrong("A \x07 bell."), "pair 4 holds broken characters"),
        ("describe", '{"answers": ["A.", "B."', "broken JSON"),
        ("describe", '{"answer": []}', "JSON of another form"),
        ("describe", '{"answers": [1, 2, 3, 4]}', "JSON of another form"),
        ("describe", json.dumps({"answers": [*ANSWERS[:3], "\ud83d"]}), "broken characters"),
        ("open", numbered([q for q, _ in PAIRS]), "pair 1 has no answer"),
        ("open", numbered([f"{q}\nAnswer: {a}\nAnswer: {a}" for q, a in PAIRS]), "pair 1 has several answers"),
        ("open", numbered([f"{q}\nAnswer: {a}" for q, a in PAIRS[:4]]), "4 pairs instead of 5"),
        ("open", numbered([f"What is it?\nAnswer: {a}" for _, a in PAIRS]), "question 2 is asked twice"),
        (
            "open",
            numbered([f"{q}\nAnswer: {a}" for q, a in [*PAIRS[:4], ("describe the AUDIO!", "A harp.")]]),
            "question 5 is asked twice",
        ),
        ("open", numbered([f"{q}\nAnswer: {q}" for q, _ in PAIRS]), "answer 1 repeats its question"),
        ("open", json.dumps({"pairs": [{"question": "Why?"}] * 5}), "JSON of another form"),
    ],
)
def test_a_useless_reply_is_refused_for_its_reason(kind, text, reason):
    with pytest.raises(ReplyError) as caught:
        read_reply(kind, text)
    assert reason in str(caught.value)


def test_what_the_checks_say_of_the_real_evaluation_set(eval_musicqa):
    """244 of the 560 real clips have a pair that names the tags it was made from: what the checks are there for."""
    reasons = Counter()
    for row in read_release([eval_musicqa]):
        try:
            check_pairs([(pair["question"], pair["answer"]) for pair in row["qa"]])
        except ReplyError as error:
            reasons["names the tag list" if "names the tag list" in str(error) else str(error).split(" ", 2)[-1]] += 1
    assert reasons["names the tag list"] == 238
    assert reasons["breaks off"] == 7
    assert reasons.total() == 247


def test_real_captions_pass_as_answers(musiccaps):
    """Words of music are not taken for words of the request: one caption of 5,521 says "tag"."""
    from mullama.dataset_scripts.sources import read_clips

    refused = []
    for clip in read_clips("musiccaps", musiccaps):
        try:
            check_pairs([("What do you hear?", " ".join(clip.caption.split()).rstrip(".") + ".")])
        except ReplyError as error:
            refused.append(str(error))
    assert len(refused) == 1 and "'tag'" in refused[0]
