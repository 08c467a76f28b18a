"""
What Inference Endpoints run beside a model's weights: music as a URL or base64 in, answers out.

A request is `{"inputs": ..., "parameters": {...}}`. An input is an audio by itself, which is described, or
`{"audio": ..., "question": "..."}`, or `{"messages": [...]}` with the audio in a user's message or beside them. One
input gives `{"generated_text": ...}`; a list gives a list, where one that cannot be answered is `{"error": ...}`.
This file travels to the Hub with a model, so it imports public libraries only.
"""

import base64
import binascii
import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor
from transformers.dynamic_module_utils import get_class_from_dynamic_module

DEFAULT_QUESTION = "Describe the audio"
MAX_INPUTS = 32  # of one request
MAX_BYTES = 100_000_000  # of one audio file
MAX_SECONDS = 3_600.0  # of one audio
MAX_NEW_TOKENS = 1_024
URL_SECONDS = 60.0  # that fetching one audio may take in all
# Whoever may send requests could otherwise make the endpoint fetch from inside its own network.
PRIVATE_VARIABLE = "MULLAMA_ALLOW_PRIVATE_URLS"
# A CPU computes float16 and bfloat16 more slowly and less exactly than float32; larger models may not fit in it.
MAX_FLOAT32_PARAMETERS = 1_000_000_000
PARAMETERS = ("max_new_tokens", "temperature", "top_p", "top_k", "seed")


class EndpointHandler:
    """
    A model and its processor, on a GPU where there is one. Several threads may call it.

    Args:
        path (`str`): The model's folder, as the endpoint has it, or a Hub id.
    """

    def __init__(self, path: str = ""):
        path = str(path)
        self.processor = AutoProcessor.from_pretrained(path, trust_remote_code=True)
        # Lies beside the processor's code; window by window, an hour takes no more memory than a window.
        self.stream_windows = get_class_from_dynamic_module("audio_io.stream_windows", path)
        on_gpu = torch.cuda.is_available()
        model = AutoModelForMultimodalLM.from_pretrained(
            path, trust_remote_code=True, dtype="auto", device_map="auto" if on_gpu else None
        )
        if not on_gpu and model.num_parameters() <= MAX_FLOAT32_PARAMETERS:
            model = model.float()
        self.model = model.eval()
        self.sampler = threading.Lock()  # the seed is the whole process's

    @torch.inference_mode()
    def __call__(self, data: dict[str, Any]) -> dict[str, str] | list[dict[str, str]]:
        """
        Answer one request.

        Args:
            data (`dict`): `inputs`, one or a list (see above; an audio may also be the bytes of a file), and
                `parameters`, *optional*: `max_new_tokens`, `temperature` (0 for the likeliest answer), `top_p`,
                `top_k` (by default the model's own) and `seed` (0: the same request is answered alike).

        Raises:
            ValueError: the request, or its only input, cannot be answered; in one line that says why.
        """
        inputs = data.get("inputs") if isinstance(data, dict) else None
        if inputs is None or inputs == []:
            raise ValueError("the request needs `inputs`: an audio's URL or base64, or an object with `audio`")
        several = isinstance(inputs, list)
        inputs = inputs if several else [inputs]
        if len(inputs) > MAX_INPUTS:
            raise ValueError(f"{len(inputs)} inputs in one request: at most {MAX_INPUTS} are answered together")
        sampling = _read_parameters(data.get("parameters"))
        answers: list[dict[str, str] | None] = [None] * len(inputs)
        heard: dict[str | bytes, torch.Tensor] = {}  # several questions may be about one audio
        prepared = []
        for place, item in enumerate(inputs):
            try:
                audio, messages = _read_input(item)
                tokens = self._tokenize(messages)
                if audio not in heard:
                    heard[audio] = self._hear(audio)
                prepared.append((place, tokens, heard[audio]))
            except ValueError as error:
                if not several:
                    raise
                answers[place] = {"error": str(error)}
        if prepared:
            places, tokens, embeds = zip(*prepared, strict=True)
            for place, text in zip(places, self._generate(list(tokens), torch.cat(embeds), sampling), strict=True):
                answers[place] = {"generated_text": text}
        return answers if several else answers[0]

    def _hear(self, audio: str | bytes) -> torch.Tensor:
        """The audio's vector, `(1, text width)`: windows are encoded one by one and averaged by their frames."""
        extractor, model = self.processor.feature_extractor, self.model.model
        means, frames, samples = 0.0, 0, 0
        try:
            windows = self.stream_windows(
                _file_bytes(audio), extractor.window_seconds, sampling_rate=extractor.sampling_rate
            )
            for window in windows:
                if samples and len(window) < extractor.min_samples:  # too short a rest for a frame
                    continue
                samples += len(window)
                if samples > MAX_SECONDS * extractor.sampling_rate:
                    raise ValueError(f"longer than {MAX_SECONDS:g} s: send a part of it")
                inputs = extractor([window], return_tensors="pt")
                count = int(model.audio_tower.frame_lengths(int(inputs["input_values_mask"].sum())))
                means = means + count * self.model.get_audio_features(**inputs).layer_means
                frames += count
        except ValueError as error:
            raise ValueError(f"{_shown(audio)}: {error}") from error
        return model.get_audio_embeds(audio_features=means / frames)

    def _tokenize(self, messages: list[dict[str, Any]]) -> list[int]:
        prompt = self.processor.apply_chat_template(messages, tokenize=True, return_dict=True)
        tokens = prompt["input_ids"][0].tolist()
        positions = self.model.config.text_config.max_position_embeddings
        if len(tokens) >= positions:
            raise ValueError(
                f"the question is too long: with the prompt {len(tokens):,} tokens, of at most {positions - 1:,}"
            )
        return tokens

    def _generate(self, prompts: list[list[int]], audio_embeds: torch.Tensor, sampling: dict[str, Any]) -> list[str]:
        """One answer to each prompt, in one batch; an answer ends where the model's positions do."""
        tokenizer, config = self.processor.tokenizer, self.model.generation_config
        batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(self.model.device)
        positions = self.model.config.text_config.max_position_embeddings
        asked = sampling.get("max_new_tokens") or config.max_new_tokens or MAX_NEW_TOKENS
        limits = [min(asked, positions - len(prompt)) for prompt in prompts]
        known = {name: value for name, value in sampling.items() if name not in ("seed", "max_new_tokens")}
        with self.sampler:
            torch.manual_seed(sampling["seed"])
            output = self.model.generate(**batch, audio_embeds=audio_embeds, max_new_tokens=max(limits), **known)
        answers = output[:, batch["input_ids"].shape[1] :]
        texts = [answer[:limit] for answer, limit in zip(answers, limits, strict=True)]
        return [tokenizer.decode(text, skip_special_tokens=True).strip() for text in texts]


def _read_input(item: Any) -> tuple[str | bytes, list[dict[str, Any]]]:
    """An input's audio, and the messages to ask, of which the last is the user's. Raises ValueError."""
    if isinstance(item, str | bytes):
        item = {"audio": item}
    if not isinstance(item, dict) or not set(item) <= {"audio", "question", "messages"}:
        raise ValueError("an input is an audio, or an object of `audio` and `question` or `messages`")
    if "question" in item and "messages" in item:
        raise ValueError("give `question` or `messages`, not both")
    messages = item.get("messages", [{"role": "user", "content": item.get("question", DEFAULT_QUESTION)}])
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("`messages` are a list of objects with `role` and `content`")
    if not messages or messages[-1].get("role") != "user":
        raise ValueError("the last of `messages` must be the user's")
    audios = [item["audio"]] if "audio" in item else []
    asked = []
    for message in messages:
        texts, found = _read_message(message)
        asked.append({"role": message["role"], "content": texts})
        audios += found
    if not any(part["text"].strip() for part in asked[-1]["content"]):
        raise ValueError("the question is empty: ask something")
    if len(audios) != 1:
        raise ValueError(f"an input needs one audio, this one has {len(audios)}")
    if not isinstance(audios[0], str | bytes):
        raise ValueError("an audio is a URL or a file in base64")
    return audios[0], asked


def _read_message(message: dict[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """
    A message's texts, and its audios apart. Raises ValueError on anything else.

    The processor opens whatever a part names, files of this machine too: it is given texts alone.
    """
    content = message.get("content")
    if message.get("role") not in ("system", "user", "assistant"):
        raise ValueError(f"no such role: {message.get('role')!r}; there are system, user and assistant")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ValueError("a message's `content` is a text, or a list of parts")
    texts, audios = [], []
    for part in content:
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append({"type": "text", "text": part["text"]})
        elif part.get("type") == "audio" and message["role"] == "user" and {"audio", "url"} & set(part):
            audios.append(part["audio"] if "audio" in part else part["url"])
        else:
            raise ValueError("a part is {'type': 'text', 'text': ...}, or {'type': 'audio', 'url': ...} of the user's")
    return texts, audios


def _read_parameters(parameters: Any) -> dict[str, Any]:
    """Arguments of `generate`, and the seed. Raises ValueError on one that is unknown or out of range."""
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict) or not set(parameters) <= set(PARAMETERS):
        raise ValueError(f"`parameters` is an object of {', '.join(PARAMETERS)}")
    given = {name: value for name, value in parameters.items() if value is not None}
    for name, value in given.items():
        whole = name in ("max_new_tokens", "top_k", "seed")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"`{name}` must be a {'whole ' if whole else ''}number, not {value!r}")
    ranges = {"max_new_tokens": (1, MAX_NEW_TOKENS), "temperature": (0, 100), "top_p": (0, 1), "top_k": (1, 10**6)}
    for name, (low, high) in ranges.items():
        if name in given and not low <= given[name] <= high:
            raise ValueError(f"`{name}` is {given[name]!r}, it must be from {low} to {high}")
    sampling = {**given, "seed": given.get("seed", 0) % 2**63}
    if given.get("temperature") == 0:
        return sampling | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return sampling | ({"do_sample": True} if {"temperature", "top_p", "top_k"} & set(given) else {})


def _file_bytes(audio: str | bytes) -> bytes:
    """The file's bytes, from a URL or from base64, also as a data URL. Raises ValueError."""
    if isinstance(audio, bytes):
        data = audio
    elif audio[:8].lower().startswith(("http://", "https://")):
        data = _fetch(audio)
    else:
        head, comma, rest = audio.partition(",") if audio.startswith("data:") else ("", "", audio)
        if len(rest) > MAX_BYTES * 4 / 3 + 4:
            raise ValueError(f"more than {MAX_BYTES:,} bytes: send a smaller file")
        try:
            data = base64.b64decode(rest, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("neither an http(s) URL nor base64") from error
    if not data:
        raise ValueError("an empty file")
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes: send a smaller file")
    return data


def _fetch(url: str) -> bytes:
    """What lies at an http(s) URL of the public internet, up to one byte more than is taken."""
    deadline = time.monotonic() + URL_SECONDS
    # Only these: others would also open files and FTP, and a redirection may lead anywhere.
    opener = urllib.request.OpenerDirector()
    for handler in (
        _HTTPHandler(),
        _HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    data = bytearray()
    try:
        with opener.open(url, timeout=URL_SECONDS / 2) as response:
            while chunk := response.read1(2**16):
                data += chunk
                if len(data) > MAX_BYTES:
                    break
                if time.monotonic() > deadline:
                    raise ValueError(f"not fetched within {URL_SECONDS:g} s")
    except urllib.error.HTTPError as error:
        raise ValueError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"cannot be fetched ({_one_line(error)})") from error
    return bytes(data)


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    """A connection to a host of the public internet: to the very address that was looked at, redirected or not."""
    error: OSError = OSError(f"{host} has no address")
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not (_is_public(address[0]) or os.environ.get(PRIVATE_VARIABLE) == "1"):
            raise OSError(f"{host} is not a public address")
        try:
            return socket.create_connection(address[:2], timeout)
        except OSError as failed:
            error = failed
    raise error


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.version == 6:
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        # Ways of writing an IPv4 address, which may be any.
        elif address.sixtofour or address.teredo or address in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return address.is_global and not address.is_multicast


class _HTTPConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connect(self.host, self.port, self.timeout)


class _HTTPSConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        plain = _connect(self.host, self.port, self.timeout)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HTTPConnection, request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HTTPSConnection, request)


def _shown(audio: str | bytes) -> str:
    """A name for an audio in a message: its URL, or what it came as."""
    if isinstance(audio, bytes):
        return "the audio"
    return audio if len(audio) <= 200 and "://" in audio[:8] else "the audio"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
