"""Loss on answers only, token by token, in every form of data; long texts cut where it hurts least."""

import pytest
import torch
from mullama import MuLlamaProcessor
from mullama.training.collator import IGNORE_INDEX, AnswerCollator
from mullama.training.data import DataError, conversations
from mullama.training.mixture import CACHED, TEXT
from mullama.training.trainer import RowSampler


@pytest.fixture(scope="module")
def processor(random_model) -> MuLlamaProcessor:
    return MuLlamaProcessor.from_pretrained(random_model)


def learned(batch: dict, row: int = 0) -> list[int]:
    """The tokens of a row that have a label, each of them its own."""
    ids, labels, mask = batch["input_ids"][row], batch["labels"][row], batch["attention_mask"][row]
    counted = labels != IGNORE_INDEX
    assert torch.equal(ids[counted], labels[counted]) and bool((mask[counted] == 1).all())
    return ids[counted].tolist()


MULTI_TURN = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "Which instruments play?"}]},
    {"role": "assistant", "content": "A piano."},
    {"role": "user", "content": "Is it slow?"},
    {"role": "assistant", "content": [{"type": "text", "text": "Yes, it is slow."}]},
]


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"question": "Is it slow?", "answer": "Yes."}, ["Yes."]),
        ({"messages": MULTI_TURN}, ["A piano.", "Yes, it is slow."]),
        ({"instruction": "Add.", "input": "1, 2", "output": "3"}, ["3"]),
        ({"instruction": "Greet.", "input": "", "output": "Hello."}, ["Hello."]),
    ],
)
def test_each_answer_and_its_end_is_learned_and_nothing_else(processor, row, answers):
    tokenizer = processor.tokenizer
    expected = [
        token
        for answer in answers
        for token in [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    ]
    batch = AnswerCollator(processor)(
        [row, {"question": "A longer question, is it not?", "answer": "It is a long one."}]
    )
    assert learned(batch) == expected
    assert batch["report"]["cut"] == 0
    # What the model reads is the processor's own prompt with the answers in it.
    text = processor.apply_chat_template(next(conversations(row)), tokenize=False)
    ids = batch["input_ids"][0][batch["attention_mask"][0] == 1]
    assert tokenizer.decode(ids) == text


def test_a_long_answer_loses_its_end(processor):
    row = {"question": "Is it slow?", "answer": "It is a slow piece of which bars play. " * 20}
    whole = AnswerCollator(processor)([row])
    batch = AnswerCollator(processor, max_length=40)([row, {"question": "Slow?", "answer": "No."}])
    assert batch["input_ids"].shape[1] == 40 and batch["report"]["cut"] == 1
    start = learned(whole)
    assert learned(batch) == start[: len(learned(batch))] and len(learned(batch)) > 10
    assert processor.tokenizer.eos_token_id not in learned(batch)  # it does not learn to stop there
    assert torch.equal(batch["input_ids"][0], whole["input_ids"][0, :40])


def test_a_long_question_is_cut_before_the_answer(processor):
    row = {"question": "Is it a slow or a fast piece? " * 30, "answer": "It is a slow piece."}
    batch = AnswerCollator(processor, max_length=48)([row])
    answer = processor.tokenizer("It is a slow piece.", add_special_tokens=False).input_ids
    answer.append(processor.tokenizer.eos_token_id)
    assert batch["input_ids"].shape[1] <= 48 and batch["report"]["cut"] == 1
    assert learned(batch) == answer[: len(learned(batch))]
    assert len(learned(batch)) >= min(len(answer), 12)
    text = processor.tokenizer.decode(batch["input_ids"][0])
    assert text.count("Is it a slow or a fast piece?") >= 1  # its beginning stays


def test_later_turns_go_first(processor):
    batch = AnswerCollator(processor)([{"messages": MULTI_TURN}])
    whole = batch["input_ids"].shape[1]
    cut = AnswerCollator(processor, max_length=whole - 4)([{"messages": MULTI_TURN}])
    assert learned(cut) == learned(batch)[: len(learned(cut))]
    eos = processor.tokenizer.eos_token_id
    short = AnswerCollator(processor, max_length=whole - len(learned(batch)[learned(batch).index(eos) + 1 :]) - 2)
    only_first = short([{"messages": MULTI_TURN}])
    assert learned(only_first)[-1] == eos and learned(only_first).count(eos) == 1
    assert only_first["input_ids"][0, -1] == eos  # nor the question whose answer is gone


def test_never_cut_so_that_nothing_is_learned(processor):
    for words in range(1, 60, 7):
        for length in (24, 32, 64):
            row = {"question": "slow piece " * words, "answer": "fast bars " * words}
            assert learned(AnswerCollator(processor, max_length=length)([row]))
    with pytest.raises(DataError, match="leaves no room for an answer"):
        AnswerCollator(processor, max_length=3)([{"question": "slow?", "answer": "fast"}])


def test_noise_is_the_same_in_a_resumed_run_and_another_in_each_epoch(processor):
    heard = torch.randn(8, 3, 32).numpy()
    rows = [{"clip": n, "question": "Slow?", "answer": "No."} for n in range(8)]
    collate = AnswerCollator(processor, heard, noise=0.5, noisy_clips=6)
    first, again = (collate(rows)["audio_features"] for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first[3:4], collate(rows[3:4])["audio_features"])
    assert torch.equal(first[6:], torch.from_numpy(heard[6:])) and not torch.equal(first[:6], torch.tensor(heard[:6]))
    collate.epoch = 1
    assert not torch.equal(first[:6], collate(rows)["audio_features"][:6])


def test_the_order_of_rows_hangs_on_seed_and_epoch_alone():
    import numpy as np

    doors = np.array([TEXT] * 21 + [CACHED] * 35)
    lengths = np.random.default_rng(0).integers(5, 500, len(doors))
    sampler = RowSampler(doors, lengths, 4, seed=1)
    first = list(sampler)
    assert first == list(RowSampler(doors, lengths, 4, seed=1)) and len(first) == len(sampler) == 52
    assert len(set(first)) == 52
    steps = np.array(first).reshape(-1, 4)
    assert all(len(set(doors[step])) == 1 for step in steps)
    spread = np.mean([np.ptp(lengths[step]) for step in steps])
    assert spread < 0.4 * np.mean(
        [np.ptp(step) for step in np.random.default_rng(1).permutation(lengths).reshape(-1, 4)]
    )
    sampler.epoch = 1
    assert list(sampler) != first
    assert sorted(RowSampler(doors[:21], None, 4, seed=1)) == list(range(21))  # one door: nothing is left out
