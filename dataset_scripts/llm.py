"""
The language models that write MusicQA: a chat endpoint through `huggingface_hub`, or a local transformers model.

Both are used as `async with model: text = await model.complete(request, seed)`: the same request with the same seed
gets the same reply, as far as the server keeps to the seed.
"""

import asyncio
import json
import os
import random
from pathlib import Path

from huggingface_hub import AsyncInferenceClient, get_session
from huggingface_hub.errors import HfHubHTTPError

from .prompts import Request

try:  # the HTTP library that huggingface_hub itself uses: httpx2 since its version 2
    from httpx2 import ConnectError, HTTPError
except ImportError:
    from httpx import ConnectError, HTTPError

TEMPERATURE = 0.7
TOP_P = 0.95
MAX_NEW_TOKENS = 1024
RETRIES = 6  # of a request that met a busy or broken server
FIRST_WAIT = 0.5  # seconds before the first retry, doubled for each further one
LONGEST_WAIT = 60.0  # seconds, also where a server asks for more


class LLMError(ValueError):
    """The language model cannot be used at all: the run stops, what is done is kept."""


class RequestFailed(Exception):
    """One request got no reply, however often it was made; says why."""


class RequestRefused(RequestFailed):
    """The server will not answer this request, and asking again would not help."""


class Endpoint:
    """
    A chat model behind the OpenAI protocol (vLLM, TGI, llama.cpp, ...) or a Hugging Face Inference Provider.

    Args:
        name (`str`): `http(s)://HOST/v1`, or with `provider` the model's Hub id.
        model (`str`, *optional*): The model's name at the URL; by default the first that it lists.
        provider (`str`, *optional*): `auto` or the name of an Inference Provider; the Hub's token is used.
        timeout (`float`, defaults to 120): Seconds that a reply may take.
        retries (`int`, defaults to 6): How often a request is made again.

    The environment's `OPENAI_API_KEY` is sent to a URL, the Hub's token never is.
    """

    def __init__(
        self,
        name: str,
        model: str | None = None,
        provider: str | None = None,
        timeout: float = 120.0,
        retries: int = RETRIES,
    ):
        self._timeout = timeout
        self._retries = retries
        self._where = name if provider is None else f"{name} at {provider}"
        self.structured = False
        if provider is None:
            key = os.environ.get("OPENAI_API_KEY") or "none"  # never empty: huggingface_hub would send its own token
            self.name = model or first_model(name, key)
            self._door = {"base_url": name, "api_key": key}
        else:
            self.name = name
            self._door = {"model": name, "provider": provider}

    async def __aenter__(self) -> "Endpoint":
        """Ask once: the server is there, lets us in, knows the model; can it be held to a JSON schema?"""
        self._client = AsyncInferenceClient(**self._door)
        schema = {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}},
            "required": ["ready"],
            "additionalProperties": False,
        }
        # The question does not speak of JSON, so whoever replies in JSON was held to it.
        messages = [{"role": "user", "content": "Are you ready?"}]
        try:
            try:
                reply = await self._complete(Request("probe", messages, schema), seed=0, max_tokens=32)
                self.structured = reply.strip().startswith("{")
            except RequestFailed:
                await self._complete(Request("probe", messages, None), seed=0, max_tokens=32)
        except RequestFailed as error:
            await self._client.close()
            raise LLMError(f"{self._where}: {error}") from error
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *exc_info) -> None:
        await self._client.close()

    async def complete(self, request: Request, seed: int) -> str:
        """
        The reply's text.

        Raises:
            RequestFailed: refused, or still no reply after the retries.
            LLMError: the server no longer lets us in, or no longer knows the model.
        """
        return await self._complete(request, seed, MAX_NEW_TOKENS)

    async def _complete(self, request: Request, seed: int, max_tokens: int) -> str:
        extra = {}
        if request.schema is not None:
            form = {"name": request.kind, "schema": request.schema, "strict": True}
            extra = {"response_format": _AsItIs({"type": "json_schema", "json_schema": form})}
        sampling = {"max_tokens": max_tokens, "temperature": TEMPERATURE, "top_p": TOP_P, "seed": seed}
        return await complete_chat(
            self._client,
            request.messages,
            where=self._where,
            timeout=self._timeout,
            retries=self._retries,
            is_first=request.kind == "probe",
            model=self.name,
            extra_body=extra,
            **sampling,
        )


async def complete_chat(
    client: AsyncInferenceClient,
    messages: list[dict],
    *,
    where: str,
    timeout: float,
    retries: int,
    is_first: bool,
    **asked,
) -> str:
    """
    One reply of a chat endpoint, asked for again while the server is busy or broken, with waits that grow.

    Args:
        where (`str`): What messages call the endpoint.
        timeout (`float`): Seconds that a reply may take.
        retries (`int`): How often it is asked for again.
        is_first (`bool`): Nothing came from this endpoint yet: one that cannot be reached is not there.
        asked: What `AsyncInferenceClient.chat_completion` takes: model, max_tokens, temperature, ...

    Raises:
        RequestFailed: refused (`RequestRefused`), or still no reply after the retries.
        LLMError: the endpoint is not there, does not let us in, or does not know the model.
    """
    wait = FIRST_WAIT
    for attempt in range(retries + 1):
        least_wait = 0.0
        try:
            # Not the client's own limit: it is for each read, and where two end at once a cancellation is lost.
            output = await asyncio.wait_for(client.chat_completion(messages, **asked), timeout)
            return output.choices[0].message.content or ""
        except HfHubHTTPError as error:
            status = error.response.status_code
            problem = f"HTTP {status}: {_server_says(error)}"
            if status in (401, 403, 404):
                raise LLMError(f"{where}: {problem}") from error
            if status < 500 and status not in (408, 409, 425, 429):
                raise RequestRefused(problem) from error
            least_wait = _retry_after(error)
        except asyncio.TimeoutError:
            problem = f"no reply in {timeout:g} s"
        except HTTPError as error:
            if is_first and isinstance(error, ConnectError):
                raise LLMError(f"{where}: cannot be reached ({error}); is the server running?") from error
            problem = f"cannot be reached ({error or type(error).__name__})"
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError, IndexError):
            problem = "the server's reply is no chat completion"
        except ValueError as error:
            if is_first:  # huggingface_hub's word on a missing token, a model without provider, ...
                raise LLMError(f"{where}: {error}") from error
            problem = "the server's reply is no chat completion"
        if attempt < retries:
            await asyncio.sleep(max(least_wait, wait * random.uniform(0.5, 1.0)))
            wait = min(2 * wait, LONGEST_WAIT)
    raise RequestFailed(problem)


class _AsItIs(dict):
    """
    A `response_format` that reaches the server as OpenAI defines it.

    Where a URL is called, huggingface_hub looks at the type by `get`, and rewrites `json_schema` to what only old TGI
    servers know; what it sends it copies by `items`.
    """

    def get(self, key, default=None):
        return default if key == "type" else super().get(key, default)


def first_model(url: str, key: str) -> str:
    """The first model that the server at a URL lists. Raises `LLMError` if it lists none."""
    listing = f"{url.rstrip('/')}/models"
    try:
        response = get_session().get(listing, headers={"authorization": f"Bearer {key}"}, timeout=30)
        response.raise_for_status()
        return response.json()["data"][0]["id"]
    except HTTPError as error:
        raise LLMError(f"{url}: cannot be reached ({error}); is the server running, and the URL right?") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LLMError(f"{listing}: lists no model; name it with --llm-model") from error


def _server_says(error: HfHubHTTPError) -> str:
    """A server's own words about an error, in one short line."""
    try:
        told = error.response.json()
        told = told.get("error", told) if isinstance(told, dict) else told
        told = told.get("message", told) if isinstance(told, dict) else told
    except ValueError:
        told = error.response.text
    return " ".join(str(told).split())[:200] or error.response.reason_phrase


def _retry_after(error: HfHubHTTPError) -> float:
    try:
        return min(float(error.response.headers.get("retry-after", 0)), LONGEST_WAIT)
    except ValueError:  # a date: our own waiting will do
        return 0.0


class LocalModel:
    """
    A transformers chat model on this machine: waiting requests are answered in batches.

    Each row of a batch draws its tokens with a generator of its own seed, so a reply does not depend on its company.

    Args:
        name (`str`): Folder or Hub id of a causal language model whose tokenizer has a chat template, or a `.gguf`
            file (the package `gguf` is needed).
        batch_size (`int`, defaults to 16): Most requests answered at once.
    """

    structured = False

    def __init__(self, name: str, batch_size: int = 16):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        # It is written into every row and onto the card, where a path of this machine has no place.
        self.name = Path(name).resolve().name if Path(name).exists() else name
        self._batch_size = batch_size
        where = {"pretrained_model_name_or_path": name}
        if name.endswith(".gguf"):
            where = {"pretrained_model_name_or_path": Path(name).parent, "gguf_file": Path(name).name}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(**where, padding_side="left")
            self._model = AutoModelForCausalLM.from_pretrained(**where, dtype="auto").eval()
        except (OSError, ValueError) as error:
            raise LLMError(f"{name}: no causal language model can be loaded from it ({_first_line(error)})") from error
        if self._tokenizer.chat_template is None:
            raise LLMError(
                f"{name}: its tokenizer has no chat template; take a model that was tuned to follow instructions"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if torch.accelerator.is_available():
            self._model.to(torch.accelerator.current_accelerator())

    async def __aenter__(self) -> "LocalModel":
        self._waiting: asyncio.Queue = asyncio.Queue()
        self._answering = asyncio.create_task(self._answer())
        return self

    async def __aexit__(self, *exc_info) -> None:
        self._answering.cancel()

    async def complete(self, request: Request, seed: int) -> str:
        """The reply's text. Raises `LLMError` where the model fails, for want of memory say."""
        reply = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((request.messages, seed, reply))
        return await reply

    async def _answer(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(0)  # let everybody who is ready come in
            while not self._waiting.empty() and len(batch) < self._batch_size:
                batch.append(self._waiting.get_nowait())
            messages, seeds, replies = zip(*batch, strict=True)
            try:
                texts = await asyncio.to_thread(self._generate, messages, seeds)
            except Exception as error:  # goes to those who wait: they would wait for ever if this task died of it
                told = f"{self.name}: {_first_line(error)}"
                if isinstance(error, RuntimeError):
                    told += "; if memory is short, a lower --concurrency needs less"
                for reply in replies:
                    if not reply.done():
                        reply.set_exception(LLMError(told))
                continue
            for reply, text in zip(replies, texts, strict=True):
                if not reply.done():
                    reply.set_result(text)

    def _generate(self, messages: tuple[list[dict], ...], seeds: tuple[int, ...]) -> list[str]:
        import torch
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

        inputs = self._tokenizer.apply_chat_template(
            list(messages),
            add_generation_prompt=True,
            tokenize=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device)
        draw = _draw_by_row([torch.Generator(self._model.device).manual_seed(seed) for seed in seeds])
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,  # the noise below makes the likeliest token a drawn one
                temperature=None,
                top_p=None,
                top_k=None,
                num_beams=1,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList(
                    [TemperatureLogitsWarper(TEMPERATURE), TopPLogitsWarper(TOP_P), draw]
                ),
            )
        prompt_tokens = inputs["input_ids"].shape[1]
        return self._tokenizer.batch_decode(tokens[:, prompt_tokens:], skip_special_tokens=True)


def _draw_by_row(generators: list):
    """Gumbel noise, row by row from generators of their own: the highest of scores + noise is a sample of softmax."""
    import torch

    def add_noise(input_ids, scores):
        noise = [torch.empty(scores.shape[1], device=scores.device).exponential_(generator=g) for g in generators]
        return scores.float() - torch.stack(noise).log()  # -log(Exponential) is Gumbel

    return add_noise


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def open_llm(
    name: str, model: str | None = None, provider: str | None = None, concurrency: int = 16, timeout: float = 120.0
) -> Endpoint | LocalModel:
    """The model that `--llm` names: a URL, with `provider` a Hub id, else a local folder or Hub id."""
    if provider is not None or name.startswith(("http://", "https://")):
        return Endpoint(name, model, provider, timeout)
    if model is not None:
        raise LLMError(f"{name}: no URL, so --llm-model has no meaning; give the model itself as --llm")
    return LocalModel(name, batch_size=concurrency)
