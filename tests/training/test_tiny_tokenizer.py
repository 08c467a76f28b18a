"""The embedded model's tokenizer: small, exact, the same each time, and with a prompt of two tokens."""

import sentencepiece
from mullama.training.tiny_tokenizer import PROMPT_TOKENS, train_tokenizer
from transformers import AutoTokenizer

TEXTS = [f"Which instruments play in bar {n}? A {kind}, slow, quiet." for n in range(50) for kind in ("rag", "reel")]
ANY_TEXT = ["", " ", "Which instruments play?", "  two  spaces ", "tab\tand\nline\n", "月光 ♫ Für Élise", "a" * 999]


def test_same_texts_same_files(tmp_path):
    for name in ("first", "second"):
        train_tokenizer(iter(TEXTS), tmp_path / name, vocab_size=360)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
        assert str(tmp_path) not in (tmp_path / "first" / name).read_text()


def test_any_text_comes_back_to_the_letter(tmp_path):
    tokenizer = train_tokenizer(TEXTS, tmp_path, vocab_size=360)
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.pad_token_id == 3 and tokenizer.padding_side == "left" and len(tokenizer) == 360
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ANY_TEXT:
        ids = tokenizer(text).input_ids
        assert ids[0] == 1 and tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert again(text).input_ids == ids


def test_prompt_is_two_tokens(tmp_path):
    tokenizer = train_tokenizer(TEXTS, tmp_path, vocab_size=360)
    beginning, end = PROMPT_TOKENS
    prompt = f"{beginning}Which instruments play?{end}"
    ids = tokenizer(f"{prompt}A folk piece.</s>").input_ids
    # Text is cut the same behind a prompt token as by itself.
    question, answer = (
        tokenizer(text, add_special_tokens=False).input_ids for text in ("Which instruments play?", "A folk piece.")
    )
    first, second = tokenizer.convert_tokens_to_ids(list(PROMPT_TOKENS))
    assert ids == [1, first, *question, second, *answer, 2]
    assert tokenizer.decode(ids, skip_special_tokens=True) == f"{prompt}A folk piece."


def test_cuts_as_sentencepiece_does(tmp_path, monkeypatch):
    models = []
    train = sentencepiece.SentencePieceTrainer.train

    def keep_model(**kwargs):
        train(**kwargs)
        models.append(kwargs["model_writer"].getvalue())

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", keep_model)
    tokenizer = train_tokenizer(TEXTS, tmp_path, vocab_size=360)
    reference = sentencepiece.SentencePieceProcessor(model_proto=models[0])
    for text in TEXTS[:5] + ANY_TEXT:
        assert tokenizer(text, add_special_tokens=False).input_ids == reference.encode(text)


def test_few_texts_give_a_smaller_vocabulary(tmp_path):
    tokenizer = train_tokenizer(["do re mi"], tmp_path)
    assert 4 + 256 + 2 < len(tokenizer) < 300
    assert tokenizer.decode(tokenizer("ti do").input_ids, skip_special_tokens=True) == "ti do"
