"""
A language model's server on loopback that writes its answers from the prompt's own facts, and can misbehave.

    python llm_server.py [--misbehave SHARE] [--schema keep|refuse|ignore] [--delay SECONDS] [--die-after REQUESTS]

It prints its port. What it does with a request follows from the request's text and seed alone, so a run meets the same
whatever the order; only the troubles of the line (500, 429, a hang, a broken connection) pass when asked again.
`GET /stats` tells how often it did what.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
from collections import Counter

TROUBLES = ("500", "429", "hang", "broken connection", "html")  # of the line: gone at the second time
SLIPS = (  # of the model: in the reply's text
    "half answer",
    "wrong form",
    "too few pairs",
    "too many pairs",
    "empty answer",
    "names tags",
    "leaks instruction",
    "double question",
    "empty reply",
)
OPENINGS = ("What is the mood of the audio?", "Which instruments can be heard?", "How would you describe the tempo?")
OPENINGS += ("Where might this music be played?", "What genre does the piece belong to?", "What are the vocals like?")


class Server:
    def __init__(self, misbehave: float, schema: str, delay: float, die_after: int, dying: str):
        self.misbehave = misbehave
        self.schema = schema
        self.delay = delay
        self.die_after = die_after
        self.dying = dying
        self.counts = Counter()
        self.seen = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: *(\d+)", head, re.I)
                body = await reader.readexactly(int(length.group(1))) if length else b""
                if not await self.answer(head.split()[1].decode(), head, body, writer):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    async def answer(self, path: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if path == "/stats":
            again = sum(times - 1 for times in self.seen.values())
            send(writer, 200, {"counts": self.counts, "asked_again": again})
            return True
        if path == "/v1/models":
            send(writer, 200, {"object": "list", "data": [{"id": "loopback-7b", "object": "model"}]})
            return True
        if path == "/private/v1/chat/completions" and b"authorization: bearer open sesame" not in head.lower():
            send(writer, 401, {"error": {"message": "no such key"}})
            return True
        if not path.endswith("/v1/chat/completions"):
            send(writer, 200, {"data": []})
            return True
        request = json.loads(body)
        self.counts["requests"] += 1
        if self.counts["requests"] > self.die_after:
            if self.dying == "exit":
                os._exit(1)
            self.counts["500"] += 1
            send(writer, 500, {"error": "the engine is dead"})
            return True
        if request["model"] not in ("loopback-7b", "org/hosted-7b"):
            send(writer, 404, {"error": {"message": f"the model {request['model']} does not exist"}})
            return True
        if "response_format" in request and self.schema == "refuse":
            send(writer, 400, {"error": {"message": "response_format is not supported"}})
            return True
        await asyncio.sleep(self.delay)
        prompt, form = request["messages"][-1]["content"], request.get("response_format", {})
        # What vLLM, llama.cpp, TGI and OpenAI take, and nothing else.
        structured = form.get("type") == "json_schema" and form["json_schema"]["schema"]["type"] == "object"
        key = f"{request['seed']} {prompt}"
        draw = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        behaviour = "well"
        if prompt != "Are you ready?" and draw % 10_000 < self.misbehave * 10_000:
            behaviour = (TROUBLES + SLIPS)[draw // 10_000 % len(TROUBLES + SLIPS)]
        self.seen[key] += 1
        if behaviour in TROUBLES and self.seen[key] > 1:
            behaviour = "well"
        self.counts[behaviour] += 1
        if behaviour == "500":
            send(writer, 500, {"error": "the engine is dead"})
        elif behaviour == "429":
            send(writer, 429, {"error": {"message": "slow down"}}, "retry-after: 0.2\r\n")
        elif behaviour == "hang":
            await asyncio.sleep(60)
            return False
        elif behaviour == "html":
            send(writer, 200, "<html>a proxy's page</html>")
        elif behaviour == "broken connection":
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{"choices": [')
            return False
        else:
            structured = structured and self.schema == "keep"
            probe = '{"ready": true}' if structured else "Yes, I am."
            text = probe if prompt == "Are you ready?" else reply(prompt, structured, behaviour)
            send(writer, 200, completion(text))
        return True


def completion(text: str) -> dict:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "loopback-7b",
        "choices": [choice],
        "usage": usage,
    }


def reply(prompt: str, structured: bool, slip: str) -> str:
    """What a model that follows the prompt writes from its facts; with a slip, what a worse one does."""
    facts = re.search(r"known about a piece of music:\n(.*?)\n\n", prompt, re.S).group(1).replace("\n", " ")
    sentences = [sentence.strip(" .") for sentence in re.split(r"(?<=\.)\s", facts) if sentence.strip(" .")]
    sentences.insert(0, "; ".join(sentences))
    said = [f"One hears the following: {sentences[turn % len(sentences)]}, number {turn}." for turn in range(6)]
    if slip == "empty reply":
        return ""
    if slip == "wrong form":
        return "This is a fine piece of music, and I enjoyed it very much."
    if slip == "names tags":
        said[1] = "Based on the tags, this is a calm piece."
    if slip == "leaks instruction":
        said[0] = "Here are the four answers: it is calm."
    if slip == "empty answer":
        said[2] = ""
    describe = "Write the listener's answers" in prompt
    count = (4 if describe else 5) + {"too few pairs": -1, "too many pairs": 1}.get(slip, 0)
    questions = list(OPENINGS)
    if slip == "double question":
        questions[1] = questions[0].lower()
        said[1] = said[0] if describe else said[1]
    if structured:
        pairs = [{"question": q, "answer": a} for q, a in zip(questions, said, strict=True)]
        text = json.dumps({"answers": said[:count]} if describe else {"pairs": pairs[:count]})
    elif describe:
        text = "\n".join(f"{n}. {said[n - 1]}" for n in range(1, count + 1))
    else:
        text = "\n".join(f"{n}. {questions[n - 1]}\nAnswer: {said[n - 1]}" for n in range(1, count + 1))
    return text[: len(text) // 2] if slip == "half answer" else text


def send(writer: asyncio.StreamWriter, status: int, body: object, more: str = "") -> None:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n{more}\r\n"
    writer.write(head.encode() + data)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--misbehave", type=float, default=0.0)
    parser.add_argument("--schema", choices=["keep", "refuse", "ignore"], default="keep")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--die-after", type=int, default=10**9, help="requests")
    parser.add_argument("--dying", choices=["exit", "500"], default="exit")
    server = Server(**vars(parser.parse_args()))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
