"""
The embedded model's tokenizer: a small SentencePiece BPE in LLaMA's manner, trained from nothing on the given texts.

It differs from LLaMA's in two ways that a small model needs: each fixed part of the released prompt is one token, so
that a prompt costs little more than its question; and no space is put before a text, so that text behind such a token
is cut as at the beginning, and decoding gives the text back to the letter.
"""

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
from mullama.processing.processing_mullama import PROMPT_BEGINNING, PROMPT_END
from transformers import AddedToken, LlamaTokenizer

PROMPT_TOKENS = (PROMPT_BEGINNING, PROMPT_END)
SPECIAL_TOKENS = {"unk": 0, "bos": 1, "eos": 2, "pad": 3}  # LLaMA's, and a padding token that it lacks


def train_tokenizer(texts: Iterable[str], out_dir: str | Path, vocab_size: int = 2048) -> LlamaTokenizer:
    """
    Train the tokenizer on `texts` (questions and answers, no prompts) and save it; the same texts give the same files.

    Byte fallback makes any text representable: nothing is ever unknown.

    Args:
        texts (`Iterable[str]`): What it will have to cut; read once.
        out_dir (`str` or `Path`): Folder to save to, for `AutoTokenizer.from_pretrained`.
        vocab_size (`int`, defaults to 2048): All pieces: the 4 special ones, 256 bytes, the prompt's fixed parts, and
            the learnt ones; fewer where the texts are too few for so many.

    Returns:
        `LlamaTokenizer`: as saved and loaded again. `len(tokenizer)` is the model's vocabulary size.
    """
    lines = (line for text in texts for line in text.splitlines() if line.strip())
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size - len(PROMPT_TOKENS),
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        num_threads=1,
        minloglevel=2,
        **{f"{name}_id": token_id for name, token_id in SPECIAL_TOKENS.items()},
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.model").write_bytes(model.getvalue())
        tokenizer = LlamaTokenizer.from_pretrained(
            folder, add_prefix_space=False, add_bos_token=True, pad_token="<pad>", padding_side="left"
        )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in PROMPT_TOKENS])
    tokenizer.save_pretrained(out_dir)
    return LlamaTokenizer.from_pretrained(out_dir)
