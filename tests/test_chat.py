"""A conversation about a song: what was said before counts, the song is heard once, a pipe and a terminal will do."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from mullama.asking import QuestionError, load_asker
from mullama.chatting import Conversation, chat
from mullama.processing import AudioError

COMMAND = str(Path(sys.executable).with_name("mullama"))
FIRST, SECOND = "Is it a slow piece?", "And is it loud?"


@pytest.fixture(scope="module")
def asker(random_model):
    return load_asker(random_model, "cpu")


@pytest.fixture(scope="module")
def song(asker, audio_corpus):
    return asker.hear(audio_corpus.odd["ogg"])


def test_what_was_said_belongs_to_the_next_question(asker, song):
    runs = []
    hook = asker.model.model.audio_tower.register_forward_hook(lambda *_: runs.append(None))
    conversation, pieces = Conversation(asker, song), []
    answer = conversation.ask(FIRST, 12)
    followed = conversation.ask(SECOND, 12, on_text=pieces.append)
    hook.remove()
    assert not runs and "".join(pieces).strip() == followed
    assert answer == asker.ask(song, FIRST, 12)
    messages = [
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": SECOND},
    ]
    prompt = asker.processor.apply_chat_template(messages, tokenize=True, return_dict=True)
    output = asker.model.generate(**prompt, audio_embeds=song.audio_embeds, max_new_tokens=12, do_sample=False)
    text = asker.processor.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert followed == text != asker.ask(song, SECOND, 12)
    assert conversation.messages == [*messages, {"role": "assistant", "content": followed}]


def test_the_oldest_turns_give_way(asker, song):
    """512 positions, of which a fourth or the answer's length stays free."""
    conversation, forgotten = Conversation(asker, song), []
    for turn in range(8):
        conversation.ask(f"Question {turn}: {'slow ' * 60}?", 20, on_forgotten=forgotten.append)
        assert asker.count_tokens(conversation.messages) <= asker.positions
    assert 1 < sum(forgotten) < 7
    assert conversation.messages[-2]["content"].startswith("Question 7")
    assert conversation.messages[0]["content"].startswith(f"Question {sum(forgotten)}")
    forgotten.clear()
    before = list(conversation.messages)
    longest = "slow " * 1_000
    while asker.count_tokens([{"role": "user", "content": longest}]) >= asker.positions:
        longest = longest.removesuffix("slow " * 10)
    with pytest.raises(QuestionError, match="too long"):
        conversation.ask(longest + "slow " * 50, 20)
    with pytest.raises(QuestionError, match="empty"):
        conversation.ask("  ", 20)
    assert conversation.messages == before
    conversation.ask(longest, 20, on_forgotten=forgotten.append)
    assert forgotten == [len(before) // 2] and len(conversation.messages) == 2


def test_through_a_pipe(asker, song, audio_corpus, random_model, tmp_path):
    other = audio_corpus.odd["silence"]
    lines = [FIRST, "", SECOND, f"/song {other}", FIRST, f"/song {tmp_path}/gone.wav", "/sing", FIRST]
    done = subprocess.run(
        [COMMAND, "chat", str(audio_corpus.odd["ogg"]), "--model", str(random_model), "--max-new-tokens", "12"],
        input="\n".join(lines),
        capture_output=True,
        encoding="utf-8",
    )
    conversation, about_other = Conversation(asker, song), Conversation(asker, asker.hear(other))
    answers = [conversation.ask(FIRST, 12), conversation.ask(SECOND, 12)]
    answers += [about_other.ask(FIRST, 12), about_other.ask(FIRST, 12)]
    assert done.stdout.split() == " ".join(answers).split()
    assert done.stderr.splitlines() == [
        f"mullama: {other.name}, 0:01",
        f"mullama: {tmp_path}/gone.wav: no such file",
        "mullama: /sing: no such command; there is /song PATH",
    ]
    assert done.returncode == 1


def test_a_song_that_cannot_be_heard_ends_it(asker, audio_corpus):
    with pytest.raises(AudioError, match="not audio"):
        chat(asker, asker.hear, str(audio_corpus.bad["text renamed"]), iter([FIRST]), print, interactive=False)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *command: str):
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
            env=os.environ | {"TERM": "dumb"},
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.screen, text.encode())

    def read_until(self, text: str) -> str:
        deadline = time.monotonic() + 200
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            try:
                self.seen += os.read(self.screen, 4_096).decode()
            except OSError:  # the other end is closed
                assert text in self.seen, self.seen
        return self.seen


@pytest.fixture
def terminal(random_model, audio_corpus):
    song = str(audio_corpus.odd["ogg"])
    terminal = Terminal(COMMAND, "chat", song, "--model", str(random_model), "--max-new-tokens", "100")
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    os.close(terminal.screen)


def test_in_a_terminal(terminal, asker, song):
    greeting = terminal.read_until("> ")
    assert "song.ogg, 0:06; an empty line ends, /song PATH turns to another song" in greeting
    conversation = Conversation(asker, song)
    for question in (FIRST, SECOND):
        answer = " ".join(conversation.ask(question, 100).split())
        terminal.type(f"{question}\n")
        shown = " ".join(terminal.read_until("\r\n> ").split())
        assert answer in shown
    # Ctrl-C ends an answer that has begun; the next question is answered as if that one had not been.
    terminal.type(f"{FIRST} {SECOND}\n")
    terminal.read_until(f"{SECOND}\r\n")
    os.read(terminal.screen, 1)
    terminal.type("\x03")
    terminal.read_until("mullama: stopped; that question is forgotten\r\n> ")
    answer = " ".join(conversation.ask("Thanks.", 100).split())
    terminal.type("Thanks.\n")
    assert answer in " ".join(terminal.read_until("\r\n> ").split())
    terminal.type("\n")
    assert terminal.process.wait(60) == 0
