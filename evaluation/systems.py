"""
What can be evaluated: anything that answers questions about audio, whatever it is behind.

`open_system` turns what a user writes after `--model` into one: a MU-LLaMA, another audio-language model of
transformers, an OpenAI-compatible endpoint, or a Gradio Space.
"""

import hashlib
import json
from typing import Protocol

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from ..asking import Asker, load_asker
from ..model_info import model_folder

BATCH_SIZE = 16
SPACE = "space:"


class System(Protocol):
    """
    Answers questions about audio.

    name: what tables call it.
    """

    name: str

    def answer(self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int) -> list[str]:
        """
        Answer each question about the audio in the same place.

        Args:
            audios: Each `(samples,)`, float32, mono, 24 kHz, of any length; None for a question without audio. The
                same array may come many times.
            questions: Their words alone, without a prompt around them.
            max_new_tokens: The longest answer in the system's own tokens.

        Returns:
            As many answers as questions, in their order, stripped of white space at both ends; "" for none.

        Raises:
            ValueError or OSError: the system cannot answer at all, in one line.
        """


class MuLlamaSystem:
    """
    A MU-LLaMA: hears each audio once, however often it is asked about, and answers in batches.

    With a temperature, tokens are drawn by a seed of each question's and audio's own, so that an answer depends
    neither on the batch it stands in nor on the process that gives it.
    """

    def __init__(
        self, asker: Asker, name: str, seed: int = 0, temperature: float = 0.0, batch_size: int = BATCH_SIZE
    ) -> None:
        self.name = name
        self._asker = asker
        self._seed = seed
        self._temperature = temperature
        self._batch_size = batch_size
        self._embeds: dict[str, torch.Tensor] = {}  # digest of the samples -> (1, text width)

    def answer(self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int) -> list[str]:
        """See `System.answer`. A question too long for the model is answered with ""."""
        digests = [audio_digest(audio) for audio in audios]
        for digest, audio in zip(digests, audios, strict=True):
            if audio is not None and digest not in self._embeds:
                self._embeds[digest] = self._hear(audio)
        prompts = [self._prompt(question) for question in questions]
        answers = [""] * len(questions)
        limit = self._asker.model.config.text_config.max_position_embeddings
        for deaf in (False, True):
            # Prompts of like length share a batch: less padding.
            rows = sorted(
                (row for row in range(len(questions)) if (audios[row] is None) == deaf and len(prompts[row]) < limit),
                key=lambda row: len(prompts[row]),
            )
            for start in range(0, len(rows), self._batch_size):
                batch = rows[start : start + self._batch_size]
                heard = None if deaf else torch.cat([self._embeds[digests[row]] for row in batch])
                seeds = [seed_of(self._seed, digests[row], questions[row]) for row in batch]
                texts = self._generate([prompts[row] for row in batch], heard, seeds, max_new_tokens)
                for row, text in zip(batch, texts, strict=True):
                    answers[row] = text
        return answers

    @torch.inference_mode()
    def _hear(self, audio: np.ndarray) -> torch.Tensor:
        """The one vector of an audio, `(1, text width)`, in the memory of one window."""
        extractor, model = self._asker.processor.feature_extractor, self._asker.model
        length = round(extractor.window_seconds * extractor.sampling_rate)
        means, frames = 0.0, 0
        for start in range(0, len(audio), length):
            window = audio[start : start + length]
            if start and len(window) < extractor.min_samples:
                continue  # the processor leaves out such a last window too
            inputs = extractor([window], return_tensors="pt")
            count = int(model.model.audio_tower.frame_lengths(int(inputs["input_values_mask"].sum())))
            means = means + count * model.get_audio_features(**inputs.to(model.device)).layer_means
            frames += count
        return model.model.get_audio_embeds(audio_features=means / frames)

    def _prompt(self, question: str) -> list[int]:
        chat = [{"role": "user", "content": [{"type": "text", "text": question}]}]
        return self._asker.processor.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"][
            0
        ].tolist()

    @torch.inference_mode()
    def _generate(
        self, prompts: list[list[int]], audio_embeds: torch.Tensor | None, seeds: list[int], max_new_tokens: int
    ) -> list[str]:
        model, tokenizer = self._asker.model, self._asker.processor.tokenizer
        inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
        length = inputs["input_ids"].shape[1]
        draw = LogitsProcessorList([DrawByRow(self._temperature, seeds)] if self._temperature > 0 else [])
        output = model.generate(
            **inputs,
            audio_embeds=audio_embeds,
            max_new_tokens=min(max_new_tokens, model.config.text_config.max_position_embeddings - length),
            logits_processor=draw,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
        )
        return [text.strip() for text in tokenizer.batch_decode(output[:, length:], skip_special_tokens=True)]


class DrawByRow(LogitsProcessor):
    """Sampling as the largest of logits with Gumbel noise, each row's noise from a generator of its own."""

    def __init__(self, temperature: float, seeds: list[int]) -> None:
        self._temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=g) for g in self._generators])
        return scores.float() / self._temperature - noise.to(scores.device).log()


def audio_digest(audio: np.ndarray | None) -> str:
    """What a waveform is known by; "" for none."""
    return "" if audio is None else hashlib.blake2b(np.ascontiguousarray(audio).data, digest_size=16).hexdigest()


def seed_of(seed: int, digest: str, question: str) -> int:
    """The seed of one answer: of a run's seed, the audio's digest and the question, and of nothing else."""
    text = f"{seed}\n{digest}\n{question}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")


def open_system(
    spec: str,
    *,
    device: str | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    batch_size: int = BATCH_SIZE,
    endpoint_model: str | None = None,
) -> System:
    """
    Open what a user names.

    Args:
        spec (`str`): `http://HOST/v1` of an OpenAI-compatible endpoint (`endpoint_model`: the model there, by default
            the first that it lists), `space:NAME_OR_URL` of a Gradio Space, or a folder or Hub id of a MU-LLaMA or of
            any other model of transformers that takes audio in chat messages.
        device (`str`, *optional*): torch's name of a device; by default a GPU where there is one.
        seed (`int`), temperature (`float`): 0 gives the likeliest answers, more draws them by the seed.
        batch_size (`int`): Questions answered together.

    Raises:
        ValueError or OSError: there is no such model, or it cannot be reached, in one line.
    """
    if spec.startswith(("http://", "https://")):
        from .peers import EndpointPeer

        return EndpointPeer(spec, model=endpoint_model, seed=seed, temperature=temperature)
    if spec.startswith(SPACE):
        from .peers import SpacePeer

        return SpacePeer(spec.removeprefix(SPACE))
    config = json.loads((model_folder(spec) / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") == "mullama":
        return MuLlamaSystem(load_asker(spec, device), spec, seed, temperature, batch_size)
    from .peers import TransformersPeer

    return TransformersPeer(spec, device=device, seed=seed, temperature=temperature, batch_size=batch_size)
