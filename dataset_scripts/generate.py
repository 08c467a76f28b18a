"""
Question-answer pairs about clips, written by a language model: `generate_qa` runs from clips to `qa.jsonl`.

While it runs, `qa.jsonl.partial` takes every finished clip as it comes, so a killed run goes on where it was; the
finished `qa.jsonl` has the clips in the source's order, and `qa.failures.jsonl` those that failed, with the reason.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from .llm import Endpoint, LLMError, LocalModel, RequestFailed
from .prompts import ReplyError, build_request, read_reply
from .rows import make_row
from .sources import Clip

TRIES = 5  # of a request whose replies cannot be used (REFERENCE.md 5)
FAILURES_IN_A_ROW = 20  # clips that the server failed, none done in between: it is no use going on
KEPT_REPLY = 2000  # characters of a useless reply that are kept beside its reason


@dataclass(frozen=True)
class GenerationReport:
    """How a run ended: clips in all, done before it, done by it, failed; the file of failures if there are any."""

    clips: int
    done_before: int
    done: int
    failed: int
    failures_path: Path | None


def generate_qa(
    clips: Sequence[Clip],
    llm: Endpoint | LocalModel,
    out: str | Path,
    *,
    seed: int = 0,
    concurrency: int = 16,
    limit: int | None = None,
) -> GenerationReport:
    """
    Write nine pairs for every clip: four to the fixed questions, five open ones.

    The same clips, seed and model give the same file, whatever the concurrency and however often the run was killed.
    Clips that `out` holds already are left as they are. Clips that failed are tried again once the run that they
    failed in is over.

    Args:
        clips: As `read_clips` gives them.
        llm: As `open_llm` gives it.
        out (`str` or `Path`): The file to write; every line a row (rows.py).
        seed (`int`): Seeds every request, together with the clip's id.
        concurrency (`int`): Requests under way at once.
        limit (`int`, *optional*): Stop after the first so many clips.

    Raises:
        LLMError: the model cannot be used, or no longer; what is done is kept.
        ValueError: `out` holds another run's rows, or another process is writing them.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(out.name + ".lock"), timeout=0)
    try:
        with lock:
            report = _Run(clips, llm, out, seed, limit).run(concurrency)
    except Timeout:
        raise ValueError(
            f"{out}: another `mullama data generate` is writing it; wait, or choose another --out"
        ) from None
    Path(lock.lock_file).unlink(missing_ok=True)
    return report


class _Run:
    """One run over one output file: what is done, and the open journal that takes what comes."""

    def __init__(self, clips: Sequence[Clip], llm: Endpoint | LocalModel, out: Path, seed: int, limit: int | None):
        self._all_clips = clips
        self._clips = clips if limit is None else clips[:limit]
        self._llm = llm
        self._out = out
        self._seed = seed
        self._journal_path = out.with_name(out.name + ".partial")
        self._failures_path = out.with_name(f"{out.stem}.failures.jsonl")
        self._lines: dict[str, str] = {}  # done clips' rows as written, by id
        self._failures: dict[str, dict] = {}
        self._server_failures_in_a_row = 0

    def run(self, concurrency: int) -> GenerationReport:
        self._read_what_is_done()
        before = sum(clip.id in self._lines for clip in self._clips)
        todo = [clip for clip in self._clips if clip.id not in self._lines and clip.id not in self._failures]
        if todo:
            with self._journal_path.open("ab", buffering=0) as self._journal:
                asyncio.run(self._generate(todo, concurrency))
        failed = sum(clip.id in self._failures for clip in self._clips)
        self._finish()
        done = sum(clip.id in self._lines for clip in self._clips)
        return GenerationReport(
            len(self._clips), before, done - before, failed, self._failures_path if self._failures else None
        )

    def _read_what_is_done(self) -> None:
        if self._out.exists():
            for number, line in enumerate(_lines(self._out.read_bytes()), start=1):
                self._take_row(line, self._parse(line, f"{self._out}, line {number}"), self._out)
        for entry in self._read_journal():
            if "row" in entry:
                row = entry["row"]
                self._take_row(json.dumps(row, ensure_ascii=False), row, self._journal_path)
            elif entry["failure"]["by"] == "reply":  # those that the server failed are tried again
                self._failures[entry["failure"]["id"]] = entry["failure"]

    def _take_row(self, line: str, row: dict, path: Path) -> None:
        expected = {"source": self._all_clips[0].source, "llm": self._llm.name, "seed": self._seed}
        for name, value in expected.items():
            if row.get(name) != value:
                raise ValueError(
                    f"{path}: begun with {name} {row.get(name)!r}, now it is {value!r}; "
                    "go on with the same, or choose another --out"
                )
        self._lines[row["id"]] = line

    def _read_journal(self) -> Iterator[dict]:
        """The journal's entries; what a killed process left of an unfinished last line is cut off."""
        if not self._journal_path.exists():
            return
        text = self._journal_path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(self._journal_path, whole)
        for number, line in enumerate(_lines(text[:whole]), start=1):
            yield self._parse(line, f"{self._journal_path}, line {number}")

    def _parse(self, line: str, where: str) -> dict:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not JSON ({error}); repair or remove the file") from error
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: not a row; repair or remove the file")
        return entry

    async def _generate(self, todo: list[Clip], concurrency: int) -> None:
        async with self._llm as llm:
            done = len(self._clips) - len(todo)
            # disable=None: no bar where stderr is no terminal
            with tqdm(total=len(self._clips), initial=done, unit="clip", disable=None, dynamic_ncols=True) as bar:
                bar.set_postfix(failed=len(self._failures))
                waiting = iter(todo)
                workers = [
                    asyncio.create_task(self._work(waiting, llm, bar)) for _ in range(min(concurrency, len(todo)))
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, waiting: Iterator[Clip], llm: Endpoint | LocalModel, bar: tqdm) -> None:
        for clip in waiting:
            try:
                qa = await self._ask(clip, "describe", llm) + await self._ask(clip, "open", llm)
            except _ClipFailed as failed:
                self._note_failure(clip, failed)
                bar.set_postfix(failed=len(self._failures), refresh=False)
            else:
                self._server_failures_in_a_row = 0
                row = make_row(
                    clip.id,
                    clip.source,
                    qa,
                    license=clip.license,
                    split=clip.split,
                    caption=clip.caption,
                    tags=clip.tags,
                    audio_names=clip.audio_names,
                )
                row |= {"llm": llm.name, "seed": self._seed}
                self._lines[clip.id] = json.dumps(row, ensure_ascii=False)
                self._write(f'{{"row": {self._lines[clip.id]}}}')
            bar.update()

    async def _ask(self, clip: Clip, kind: str, llm: Endpoint | LocalModel) -> list[dict[str, str]]:
        request = build_request(clip, kind, llm.structured)
        reasons = []
        for attempt in range(TRIES):
            try:
                reply = await llm.complete(request, _request_seed(self._seed, clip.id, kind, attempt))
            except RequestFailed as error:
                raise _ClipFailed(kind, "server", [*reasons, str(error)], None) from error
            try:
                return read_reply(kind, reply)
            except ReplyError as error:
                reasons.append(str(error))
        raise _ClipFailed(kind, "reply", reasons, reply)

    def _note_failure(self, clip: Clip, failed: "_ClipFailed") -> None:
        failure = {
            "id": clip.id,
            "source": clip.source,
            "request": failed.kind,
            "by": failed.by,
            "reasons": failed.reasons,
            "reply": failed.reply and failed.reply[:KEPT_REPLY].encode("utf-8", "replace").decode("utf-8"),
            "llm": self._llm.name,
            "seed": self._seed,
        }
        self._failures[clip.id] = failure
        self._write(json.dumps({"failure": failure}, ensure_ascii=False))
        self._server_failures_in_a_row = self._server_failures_in_a_row + 1 if failed.by == "server" else 0
        if self._server_failures_in_a_row >= FAILURES_IN_A_ROW:
            raise LLMError(
                f"{self._llm.name}: {FAILURES_IN_A_ROW} clips in a row got no reply (last: {failed.reasons[-1]}); "
                f"{len(self._lines)} clips are kept in {self._journal_path}; run the same command again to go on"
            )

    def _write(self, entry: str) -> None:
        self._journal.write((entry + "\n").encode("utf-8"))  # one write, unbuffered: a kill loses no finished clip

    def _finish(self) -> None:
        """The finished files, in the source's order; each replaces its forerunner at once or not at all."""
        if not self._journal_path.exists():
            return
        order = [clip.id for clip in self._all_clips]
        known = set(order)
        order = [*order, *(clip_id for clip_id in self._lines if clip_id not in known)]
        failures = [self._failures[clip_id] for clip_id in order if clip_id in self._failures]
        if failures:
            _replace(self._failures_path, (json.dumps(failure, ensure_ascii=False) for failure in failures))
        else:
            self._failures_path.unlink(missing_ok=True)
        _replace(self._out, (self._lines[clip_id] for clip_id in order if clip_id in self._lines))
        self._journal_path.unlink()


class _ClipFailed(Exception):
    """A clip without pairs: which request, by whom (`reply` or `server`), each try's reason, the last reply."""

    def __init__(self, kind: str, by: str, reasons: list[str], reply: str | None):
        super().__init__(reasons[-1])
        self.kind = kind
        self.by = by
        self.reasons = reasons
        self.reply = reply


def _request_seed(seed: int, clip_id: str, kind: str, attempt: int) -> int:
    """A seed of its own for every try, whichever order the requests are made in."""
    digest = hashlib.blake2b(f"{seed}\0{clip_id}\0{kind}\0{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1  # servers take 31 bits


def _lines(text: bytes) -> list[str]:
    """Lines of JSON; `splitlines` would also break at rarer separators, which may stand inside a JSON text."""
    return [line for line in text.decode("utf-8", "replace").split("\n") if line]


def _replace(path: Path, lines: Iterator[str]) -> None:
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
