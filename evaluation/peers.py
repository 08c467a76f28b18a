"""
Other people's models behind the door that ours are evaluated through (`systems.System`).

`TransformersPeer`: an audio-language model of transformers that takes chat messages (Qwen2-Audio, Audio Flamingo 3,
Music Flamingo, Qwen2.5-Omni, ...). `EndpointPeer`: an OpenAI-compatible endpoint that takes audio. `SpacePeer`: a
Gradio Space that answers a question about an audio file, as LTU's does.
"""

import asyncio
import base64
import io
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoProcessor,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5OmniProcessor,
)
from transformers.utils import is_torchvision_available

from ..asking import pick_device
from ..dataset_scripts.llm import LLMError, RequestFailed, RequestRefused, complete_chat, first_model
from ..processing.audio_io import SAMPLING_RATE
from .systems import BATCH_SIZE, DrawByRow, audio_digest, seed_of

TIMEOUT = 300.0  # seconds that an answer from elsewhere may take: a Space may have to wake up first
RETRIES = 4  # of an answer that did not come
CONCURRENCY = 8  # requests at once to an endpoint; servers batch them themselves
SPACE_WAIT = 2.0  # seconds before a Space is asked again, doubled each time
AUDIO_COMPONENTS = ("Audio", "File", "Microphone")  # gradio's names of what takes an audio file
TEXT_COMPONENTS = ("Textbox", "Text", "TextArea")
ANSWER_COMPONENTS = (*TEXT_COMPONENTS, "Markdown", "Label")


class PeerError(ValueError):
    """A peer that is not there or cannot answer, in one line that names it and what is wrong."""


class TransformersPeer:
    """
    An audio-language model of transformers that takes chat messages.

    It hears at its own sampling rate, and no more than `max_seconds` of an audio, which is said once where it is less
    than there is. Questions with audio and questions without are batched apart.

    Args:
        name (`str`): Folder or Hub id. Of a model that also speaks (Qwen2.5-Omni), only the part that writes is
            loaded. No code that lies beside the weights is run.
        device (`str`, *optional*): torch's name of a device; by default a GPU where there is one.
        seed (`int`), temperature (`float`): 0 gives the likeliest answers, more draws them by the seed, each audio's
            and question's own.
        batch_size (`int`): Questions answered together.

    Raises:
        PeerError: nothing of the kind can be loaded, or it takes no audio or no chat messages.
    """

    def __init__(
        self,
        name: str,
        device: str | None = None,
        seed: int = 0,
        temperature: float = 0.0,
        batch_size: int = BATCH_SIZE,
    ):
        self.name = name
        self._seed, self._temperature, self._batch_size = seed, temperature, batch_size
        place = pick_device(device)
        try:
            config = AutoConfig.from_pretrained(name)
        except (OSError, ValueError, KeyError, StrictDataclassError) as error:
            raise PeerError(f"{name}: no model of transformers: {_first_line(error)}") from error
        auto_class = _auto_class(config)
        if auto_class is None:
            raise PeerError(f"{name}: a {config.model_type!r} model, which takes no audio in chat messages")
        try:
            self._processor = _load_processor(name, config)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise PeerError(f"{name}: no processor can be loaded from it: {_first_line(error)}") from error
        self._extractor = getattr(self._processor, "feature_extractor", None)
        if self._extractor is None:
            raise PeerError(f"{name}: its processor takes no audio")
        if self._processor.chat_template is None:
            raise PeerError(f"{name}: its processor has no chat template, so it takes no chat messages")
        self._model = _load_model(name, config, auto_class).to(place).eval()
        self._processor.tokenizer.padding_side = "left"
        if self._processor.tokenizer.pad_token is None:
            self._processor.tokenizer.pad_token = self._processor.tokenizer.eos_token
        self.sampling_rate = self._extractor.sampling_rate
        self.max_seconds = self._longest_audio()

    def _longest_audio(self) -> float:
        """Seconds of an audio that the processor lets through: its own limit, or its feature extractor's window."""
        own = getattr(self._processor, "max_audio_len", None)  # the Flamingos cut audio in several windows
        return float(own or getattr(self._extractor, "chunk_length", None) or float("inf"))

    def answer(self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int) -> list[str]:
        """See `System.answer`."""
        heard = self._at_own_rate(audios)
        answers = [""] * len(questions)
        for deaf in (False, True):
            rows = [row for row in range(len(questions)) if (audios[row] is None) == deaf]
            for start in range(0, len(rows), self._batch_size):
                batch = rows[start : start + self._batch_size]
                seeds = [seed_of(self._seed, audio_digest(audios[row]), questions[row]) for row in batch]
                asked = [_message(None if deaf else heard[row], questions[row]) for row in batch]
                for row, text in zip(batch, self._generate(asked, seeds, max_new_tokens), strict=True):
                    answers[row] = text
        return answers

    def _at_own_rate(self, audios: list[np.ndarray | None]) -> list[np.ndarray | None]:
        """Each audio at the model's rate, cut where the model would stop hearing; the same array only once."""
        resampled: dict[int, np.ndarray] = {}
        for audio in audios:
            if audio is None or id(audio) in resampled:
                continue
            seconds = len(audio) / SAMPLING_RATE
            if seconds > self.max_seconds:
                warnings.warn(
                    f"{self.name} hears no more than {self.max_seconds:g} s of an audio, the first", stacklevel=3
                )
                audio_in = audio[: round(self.max_seconds * SAMPLING_RATE)]
            else:
                audio_in = audio
            resampled[id(audio)] = soxr.resample(audio_in, SAMPLING_RATE, self.sampling_rate, quality="HQ")
        return [None if audio is None else resampled[id(audio)] for audio in audios]

    @torch.inference_mode()
    def _generate(self, messages: list[list[dict]], seeds: list[int], max_new_tokens: int) -> list[str]:
        inputs = self._processor.apply_chat_template(
            messages,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            # The padding is for the text alone: audio is padded to what the encoder needs.
            processor_kwargs={
                "sampling_rate": self.sampling_rate,
                "return_tensors": "pt",
                "text_kwargs": {"padding": True},
            },
        ).to(self._model.device, self._model.dtype)
        draw = LogitsProcessorList([DrawByRow(self._temperature, seeds)] if self._temperature > 0 else [])
        output = self._model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            logits_processor=draw,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        answers = output[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)]


def _load_processor(name: str, config: PreTrainedConfig) -> ProcessorMixin:
    # Qwen2.5-Omni's own wants torchvision, for videos; nothing is seen here.
    if config.model_type == "qwen2_5_omni" and not is_torchvision_available():
        return OmniListener.from_pretrained(name)
    return AutoProcessor.from_pretrained(name)


class OmniListener(Qwen2_5OmniProcessor):
    """Qwen2.5-Omni's processor without its eyes: audio and text, as the whole one processes them."""

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None):
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        for kind in ("image", "audio", "video"):
            setattr(self, f"{kind}_token", getattr(tokenizer, f"{kind}_token"))
            setattr(self, f"{kind}_token_id", getattr(tokenizer, f"{kind}_token_id"))

    @property
    def model_input_names(self) -> list[str]:
        """What the model takes of it."""
        return ["input_ids", "attention_mask", "input_features", "feature_attention_mask"]


def _auto_class(config: PreTrainedConfig) -> type | None:
    """transformers lists language models that hear under two Auto classes; the Flamingos are in the second alone."""
    if type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        return AutoModelForMultimodalLM
    return AutoModelForSeq2SeqLM if type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING else None


def _load_model(name: str, config: PreTrainedConfig, auto_class: type) -> PreTrainedModel:
    """The model with every weight it needs; of an Omni model the thinker, which writes, and not the talker."""
    config = getattr(config, "thinker_config", config)
    try:
        model, report = auto_class.from_pretrained(name, config=config, dtype="auto", output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PeerError(f"{name}: cannot be loaded as an audio-language model: {_first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise PeerError(f"{name}: {len(missing)} of its weights are missing, the first is {missing[0]}")
    return model


def _message(audio: np.ndarray | None, question: str) -> list[dict]:
    content = [] if audio is None else [{"type": "audio", "audio": audio}]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


class EndpointPeer:
    """
    A chat model behind the OpenAI protocol that takes audio as `input_audio` (vLLM, OpenAI's own, ...).

    A request that the server refuses (too long, filtered) is answered with "" and told of, once others were answered.
    The environment's `OPENAI_API_KEY` is sent, the Hub's token never is.

    Args:
        url (`str`): `http(s)://HOST/v1`.
        model (`str`, *optional*): The model's name there; by default the first that it lists.
        seed (`int`), temperature (`float`): Sent with each request; servers keep to the seed as far as they do.
        concurrency (`int`), timeout (`float`, seconds for a reply), retries (`int`).

    Raises:
        PeerError: it cannot be reached, does not let us in, lists no model.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        seed: int = 0,
        temperature: float = 0.0,
        concurrency: int = CONCURRENCY,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
    ):
        self._key = os.environ.get("OPENAI_API_KEY") or "none"  # never empty: huggingface_hub would send its own token
        try:
            self.name = model or first_model(url, self._key)
        except LLMError as error:
            raise PeerError(str(error).replace("--llm-model", "--endpoint-model")) from error
        self._url, self._seed, self._temperature = url, seed, temperature
        self._concurrency, self._timeout, self._retries = concurrency, timeout, retries
        self._answered = 0

    def answer(self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int) -> list[str]:
        """See `System.answer`."""
        return asyncio.run(self._answer_all(audios, questions, max_new_tokens))

    async def _answer_all(
        self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int
    ) -> list[str]:
        client = AsyncInferenceClient(base_url=self._url, api_key=self._key)
        free = asyncio.Semaphore(self._concurrency)

        async def one(audio: np.ndarray | None, question: str) -> str:
            async with free:
                return await self._answer_one(client, audio, question, max_new_tokens)

        tasks = [asyncio.create_task(one(*asked)) for asked in zip(audios, questions, strict=True)]
        try:
            return list(await asyncio.gather(*tasks))
        except (LLMError, RequestFailed) as error:
            told = str(error) if isinstance(error, LLMError) else f"{self.name} at {self._url}: {error}"
            raise PeerError(told) from error
        finally:
            for task in tasks:
                task.cancel()
            await client.close()

    async def _answer_one(
        self, client: AsyncInferenceClient, audio: np.ndarray | None, question: str, max_new_tokens: int
    ) -> str:
        content: list[dict] = [{"type": "text", "text": question}]
        if audio is not None:
            data = base64.b64encode(_wav_bytes(audio)).decode()
            content.insert(0, {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
        try:
            answer = await complete_chat(
                client,
                [{"role": "user", "content": content}],
                where=f"{self.name} at {self._url}",
                timeout=self._timeout,
                retries=self._retries,
                is_first=not self._answered,
                model=self.name,
                max_tokens=max_new_tokens,
                temperature=self._temperature,
                seed=self._seed,
            )
        except RequestRefused as error:
            if not self._answered:
                raise
            warnings.warn(f"{self.name} refused the question {question!r:.60}: {error}", stacklevel=2)
            return ""
        self._answered += 1
        return answer.strip()


def _wav_bytes(audio: np.ndarray) -> bytes:
    """A 16-bit mono wav file at 24 kHz."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 1.0), SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


class SpacePeer:
    """
    A Gradio Space that answers a question about an audio file, as LTU's does.

    Of its endpoints, the first is taken that has an audio file and a text among its inputs and gives text back; its
    other inputs keep their defaults, so the Space itself decides how long an answer may be. It is asked one question
    at a time.

    Args:
        space (`str`): `OWNER/NAME` on the Hub, or the URL of a running Gradio app.
        timeout (`float`, seconds for an answer), retries (`int`).

    Raises:
        PeerError: no such Space, it does not run, or it has no endpoint of that kind.
    """

    def __init__(self, space: str, timeout: float = TIMEOUT, retries: int = RETRIES):
        try:
            from gradio_client import Client, handle_file
        except ImportError as error:
            raise PeerError("asking a Space needs gradio_client: pip install 'mullama[eval]'") from error
        self.name = space
        self._timeout, self._retries, self._file = timeout, retries, handle_file
        is_url = space.startswith(("http://", "https://"))
        try:  # any URL may be given: the Hub's token is for Spaces on the Hub only
            self._client = Client(space, token=False if is_url else None, verbose=False, analytics_enabled=False)
            endpoints = self._client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        except Exception as error:  # gradio_client raises whatever httpx, json or the Hub raise
            raise PeerError(f"{space}: no Space that can be asked: {_first_line(error)}") from error
        self._endpoint, self._audio_at, self._text_at, self._arguments = _find_endpoint(space, endpoints)

    def answer(self, audios: list[np.ndarray | None], questions: list[str], max_new_tokens: int) -> list[str]:
        """See `System.answer`; `max_new_tokens` is the Space's own affair."""
        with tempfile.TemporaryDirectory() as folder:
            files: dict[int, Path] = {}
            for audio in audios:
                if audio is not None and id(audio) not in files:
                    files[id(audio)] = Path(folder) / f"{len(files)}.wav"
                    files[id(audio)].write_bytes(_wav_bytes(audio))
            return [
                self._answer_one(None if audio is None else self._file(files[id(audio)]), question)
                for audio, question in zip(audios, questions, strict=True)
            ]

    def _answer_one(self, file: dict | None, question: str) -> str:
        arguments = list(self._arguments)
        arguments[self._audio_at], arguments[self._text_at] = file, question
        wait = SPACE_WAIT
        for attempt in range(self._retries + 1):
            job = None
            try:
                job = self._client.submit(*arguments, api_name=self._endpoint)
                return _first_text(job.result(timeout=self._timeout)).strip()
            except Exception as error:  # the app's own errors, httpx's, a timeout: all that can be done is ask again
                if job is not None:
                    job.cancel()
                told = _first_line(error)
                if attempt < self._retries:
                    time.sleep(wait)
                    wait *= 2
        heard = "" if file else " without audio"
        raise PeerError(f"{self.name}: does not answer{heard}, asked {self._retries + 1} times: {told}")


def _find_endpoint(space: str, endpoints: dict[str, dict]) -> tuple[str, int, int, list]:
    """The endpoint to ask: its name, where the audio and the question stand, and what the other inputs are."""
    for name, endpoint in endpoints.items():
        parameters = endpoint["parameters"]
        components = [parameter["component"] for parameter in parameters]
        audio_at = next((at for at, component in enumerate(components) if component in AUDIO_COMPONENTS), None)
        text_at = next((at for at, component in enumerate(components) if component in TEXT_COMPONENTS), None)
        gives_text = any(value["component"] in ANSWER_COMPONENTS for value in endpoint["returns"])
        if audio_at is None or text_at is None or not gives_text:
            continue
        others = [parameter for at, parameter in enumerate(parameters) if at not in (audio_at, text_at)]
        if all(parameter.get("parameter_has_default") for parameter in others):
            return name, audio_at, text_at, [parameter.get("parameter_default") for parameter in parameters]
    listed = ", ".join(endpoints) or "none"
    raise PeerError(f"{space}: none of its endpoints ({listed}) takes an audio file and a text and gives text back")


def _first_text(result: object) -> str:
    """The answer among what an endpoint returns."""
    values = result if isinstance(result, (list, tuple)) else [result]
    return next((value for value in values if isinstance(value, str)), "")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
