"""
Talk about a song: what was asked and answered before belongs to the next question, and the song is heard once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from .asking import MAX_NEW_TOKENS, Asker, QuestionError, Song
from .processing import AudioError

# Of the model's positions, what is kept free for the next answer: earlier turns give way to it.
ANSWER_SHARE = 4


class Conversation:
    """A song and what was said about it."""

    def __init__(self, asker: Asker, song: Song):
        self.asker = asker
        self.song = song
        self.messages: list[dict[str, str]] = []

    def ask(
        self,
        question: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
        on_forgotten: Callable[[int], None] | None = None,
    ) -> str:
        """
        Ask the next question; the arguments are those of `Asker.ask`. What fails leaves the conversation as it was.

        Args:
            on_forgotten (`Callable`, *optional*): Is told how many of the oldest questions, with their answers, had to
                be dropped for want of positions, before the answer comes.

        Raises:
            QuestionError: the question is empty, or by itself too long for the model.
        """
        self.asker.check_question(question)
        asked = [*self.messages, {"role": "user", "content": question}]
        room = self.asker.positions - min(max_new_tokens, self.asker.positions // ANSWER_SHARE)
        forgotten = 0
        while len(asked) > 1 and self.asker.count_tokens(asked) > room:
            asked, forgotten = asked[2:], forgotten + 1
        if forgotten and on_forgotten:
            on_forgotten(forgotten)
        answer = self.asker.reply(self.song, asked, max_new_tokens, temperature, seed, on_text)
        self.messages = [*asked, {"role": "assistant", "content": answer}]
        return answer


def chat(
    asker: Asker,
    hear: Callable[[str], Song],
    path: str,
    questions: Iterator[str],
    say: Callable[[str], None],
    interactive: bool,
    **answering,
) -> bool:
    """
    Hold a conversation: answers are printed as they are made, all else is said.

    Args:
        hear: Gives a file's song; raises `AudioError`.
        path: The first file.
        questions: What the user types, line by line; `/song PATH` turns to another song.
        say: Is given notes for the user, each a line.
        interactive: Ctrl-C then only ends an answer.
        answering: For `Conversation.ask`.

    Returns whether every question was answered. Raises `AudioError` if the first file cannot be heard.
    """

    def forgotten(count: int) -> None:
        oldest = "oldest question is" if count == 1 else f"{count} oldest questions are"
        say(f"the conversation is too long for the model: the {oldest} forgotten")

    conversation = Conversation(asker, hear(path))
    if interactive:
        say(f"{introduction(conversation.song)}; an empty line ends, /song PATH turns to another song")
    all_answered = True
    for line in questions:
        try:
            if line.split()[0] == "/song":
                other = line.removeprefix("/song").strip().strip("'\"")
                conversation = Conversation(asker, hear(str(Path(other).expanduser())))
                say(introduction(conversation.song))
            elif line.startswith("/"):
                say(f"{line.split()[0]}: no such command; there is /song PATH")
                all_answered = False
            else:
                conversation.ask(
                    line, on_text=lambda piece: print(piece, end="", flush=True), on_forgotten=forgotten, **answering
                )
                print(flush=True)
        except (AudioError, QuestionError) as error:
            say(str(error))
            all_answered = False
        except KeyboardInterrupt:
            if not interactive:
                raise
            print(flush=True)
            say("stopped; that question is forgotten")
    return all_answered


def introduction(song: Song) -> str:
    """What is being talked about: the file's name and how much of it was heard."""
    minutes, seconds = divmod(round(song.seconds), 60)
    return f"{Path(song.name).name}, {minutes}:{seconds:02d}"
