"""
The page: drop a song and talk about it, describe the whole of it window by window, caption many files.

Here are the page and what its buttons do; `listening.py` has the model, `pictures.py` the spectrogram, `look.py` what
the browser needs. The same functions answer `gradio_client` and MCP, as `/ask`, `/caption`, `/status`.
Run it with `mullama app`, or `python app.py` with MULLAMA_MODEL set to a model's folder or Hub id.
"""

import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import listening
from listening import MAX_NEW_TOKENS, MAX_QUESTION, MAX_SECONDS, Library, Refused, Sampling, Song, answer, card
from look import SCRIPT, SPECTROGRAM, STATE, STYLE, TABLE, THEME, TIMELINE

HERE = Path(__file__).resolve().parent
EXAMPLES = {"sectoid_metal_madness.ogg": "A metal band", "rendered_flute_tune.ogg": "A flute tune"}
AUDIO_TYPES = [".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".webm"]
SUGGESTIONS = (
    "Which instruments play?",
    "Are there drums?",
    "Is it a solo or a band?",
    "Is it loud or soft?",
    "Describe the audio in detail.",
)
DESCRIBE = "Describe the audio."
EXTREMES = 3  # of the measured accuracies, the best and the worst, are told at once

TURNS = 20  # of a conversation that an answer may have in mind, as many as fit
MAX_FILE = "50mb"
MAX_FILES = 200
QUEUE, AT_ONCE = 100, 16  # requests that may wait, and of each kind run; the model itself takes one step at a time
CLEAN_EVERY, KEEP = 600, 3600  # seconds: files of visitors whose leaving was not noticed

NOTHING_OPEN = {"text": f"wav, flac, ogg, mp3 or m4a, up to {MAX_SECONDS // 60} minutes and {MAX_FILE[:-2]} MB."}


def clock(seconds: float) -> str:
    """Minutes and seconds: 65.2 is 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


# --- A song, and talking about it


def open_song(path: str | None, visitor: gr.Request) -> Iterator[tuple]:
    """Show a song that was just given and hear it; yields (status, spectrogram, timeline, from, to, chat, memory)."""
    fresh = {"rows": []}, None, None, [], []
    if path is None:
        yield NOTHING_OPEN, None, *fresh
        return
    song = library.song(path, visitor.session_hash)
    try:
        seconds, picture = song.look()
        shown = {
            "name": song.name,
            "picture": picture,
            "seconds": seconds,
            "end": clock(seconds),
            "window": listening.extractor.window_seconds,
        }
        yield {"text": f"Listening to {song.name}, {clock(seconds)} long ..."}, shown, *fresh
        song.hear()
        yield {"text": f"Heard {song.name}, all {clock(seconds)} of it."}, shown, *fresh
    except Refused as refusal:
        yield {"text": str(refusal), "problem": True}, None, *fresh


def mark_part(shown: dict | None, start: float | None, end: float | None) -> dict | None:
    """The spectrogram with the part marked that questions are about."""
    if not shown:
        return shown
    seconds = shown["seconds"]
    start, end = min(start or 0, seconds), min(end or seconds, seconds)
    marked = {"left": 100 * start / seconds, "width": 100 * max(0, end - start) / seconds}
    return {**shown, "part": marked if (start, end) != (0, seconds) else None}


def talk(
    question: str,
    path: str | None,
    start: float | None,
    end: float | None,
    remember: bool,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    seed: int,
    chat: list[dict],
    memory: list[dict],
    event: gr.EventData,
    visitor: gr.Request,
) -> Iterator[tuple]:
    """Put a question, typed or suggested, about the song's part; yields (box, chat, memory) as the answer grows."""
    if isinstance(event.target, gr.Button):
        question = event.target.value
    question = question.strip()
    if not question:
        return
    part = "" if not start and not end else f"\n\n*{clock(start or 0)} to {clock(end) if end else 'the end'}*"
    said = [*chat, {"role": "user", "content": question + part}]
    if path is None:
        yield question, [*said, {"role": "assistant", "content": "Give me a song first."}], memory
        return
    asked = [*(memory[-2 * TURNS :] if remember else []), {"role": "user", "content": question}]
    yield "", [*said, {"role": "assistant", "content": "..."}], memory
    try:
        heard = library.song(path, visitor.session_hash).hear(start, end or None)
        for text in answer(heard.layer_means, asked, Sampling(temperature, top_p, max_new_tokens, int(seed or 0))):
            yield "", [*said, {"role": "assistant", "content": text or "(no answer)"}], memory
    except Refused as refusal:
        yield question, [*said, {"role": "assistant", "content": f"I could not answer. {refusal}"}], memory
        return
    turn = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    yield "", [*said, {"role": "assistant", "content": text or "(no answer)"}], [*memory, *turn]


def describe_track(path: str | None, visitor: gr.Request) -> Iterator[dict]:
    """One caption for each window of the song, from its beginning to its end; yields the timeline as it grows."""
    if path is None:
        yield {"rows": [], "note": "Give me a song first."}
        return
    rows = []
    try:
        windows = library.song(path, visitor.session_hash).hear().windows
        for window in windows:
            yield {"rows": rows, "note": f"{len(rows)} of {len(windows)} windows ..."}
            *_, caption = answer(window.layer_means, [{"role": "user", "content": DESCRIBE}], Sampling())
            rows = [*rows, {"seconds": window.start, "clock": clock(window.start), "caption": caption}]
        yield {"rows": rows, "note": f"{len(rows)} windows, {clock(windows[-1].end)} in all. Choose one to hear it."}
    except Refused as refusal:
        yield {"rows": rows, "note": str(refusal)}


# --- Many files


def caption_files(paths: list[str] | None, question: str, visitor: gr.Request) -> Iterator[tuple]:
    """Ask every file the question; yields (progress, table, CSV, JSONL), the files when all is done."""
    none = gr.DownloadButton(interactive=False), gr.DownloadButton(interactive=False)
    if not paths:
        yield {"text": "Choose the files first.", "problem": True}, {"rows": []}, *none
        return
    if len(paths) > MAX_FILES:
        text = f"{len(paths)} files are too many at once: at most {MAX_FILES}. `mullama caption` takes any number."
        yield {"text": text, "problem": True}, {"rows": []}, *none
        return
    rows = []
    for path in paths:
        yield {"text": f"{len(rows)} of {len(paths)}: {Path(path).name} ..."}, _table(rows), *none
        rows.append(_caption(library.song(path, visitor.session_hash), question))
    broken = sum(row["error"] is not None for row in rows)
    text = f"{len(rows) - broken} of {len(rows)} captioned{f', {broken} could not be' if broken else ''}."
    yield {"text": text}, _table(rows), *_downloads(rows, visitor)


def _caption(song: Song, question: str) -> dict:
    row = {"audio": song.name, "duration": None, "question": question, "caption": None, "error": None}
    try:
        heard = song.hear()
        *_, caption = answer(heard.layer_means, [{"role": "user", "content": question}], Sampling())
        return {**row, "duration": round(heard.end, 3), "caption": caption}
    except Refused as refusal:
        return {**row, "error": str(refusal)}


def _table(rows: list[dict]) -> dict:
    return {"rows": [{**row, "clock": clock(row["duration"]) if row["duration"] else ""} for row in rows]}


def _downloads(rows: list[dict], visitor: gr.Request) -> list[gr.DownloadButton]:
    """The rows as captions.csv and captions.jsonl, which go when the visitor does."""
    uploads.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=uploads))
    as_csv, as_jsonl = folder / "captions.csv", folder / "captions.jsonl"
    with as_csv.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
    as_jsonl.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    for path in (as_csv, as_jsonl):
        library.keep(str(path), visitor.session_hash)
    return [gr.DownloadButton(value=str(path), interactive=True) for path in (as_csv, as_jsonl)]


def leave(visitor: gr.Request) -> None:
    """Delete what a visitor gave and made here, as their session ends."""
    library.forget(visitor.session_hash)


# --- For programs


def ask(
    audio: str,
    question: str,
    start: float | None = None,
    end: float | None = None,
    temperature: float = 0.0,
    top_p: float = 0.8,
    max_new_tokens: int = MAX_NEW_TOKENS,
    seed: int = 0,
    visitor: gr.Request = None,
) -> Iterator[str]:
    """
    Ask a piece of music a question and get the answer in words. A song is heard once, however many questions follow.

    Args:
        audio: The music: an audio file (wav, flac, ogg, mp3, m4a) of up to 15 minutes.
        question: What to ask, in English, up to 500 characters: "Which instruments play?"
        start: Second from which to listen; empty is the beginning.
        end: Second up to which to listen; empty is the end.
        temperature: 0 gives the likeliest answer, always the same; above, answers are drawn.
        top_p: Draw from the likeliest tokens that together have this probability.
        max_new_tokens: The longest answer, in tokens.
        seed: Same seed, same drawn answer.

    Returns:
        The answer, as far as it is made; the last one is whole.
    """
    try:
        heard = _given(audio, visitor).hear(start, end or None)
        sampling = Sampling(temperature, top_p, int(max_new_tokens), int(seed))
        yield from answer(heard.layer_means, [{"role": "user", "content": question}], sampling)
    except Refused as refusal:
        raise gr.Error(str(refusal), print_exception=False) from refusal


def caption(audio: str, question: str = DESCRIBE, per_window: bool = False, visitor: gr.Request = None) -> dict:
    """
    Describe a piece of music, as a whole or window by window.

    Args:
        audio: The music: an audio file (wav, flac, ogg, mp3, m4a) of up to 15 minutes.
        question: What each caption answers.
        per_window: Whether to give, besides the whole's, a caption for each window with its start and end in seconds.

    Returns:
        The caption, the length in seconds, and the windows' captions where they were asked for.
    """
    messages = [{"role": "user", "content": question}]
    try:
        song = _given(audio, visitor)
        heard = song.hear()
        *_, text = answer(heard.layer_means, messages, Sampling())
        windows = []
        for window in heard.windows if per_window else ():
            *_, words = answer(window.layer_means, messages, Sampling())
            windows.append({"start": round(window.start, 3), "end": round(window.end, 3), "caption": words})
    except Refused as refusal:
        raise gr.Error(str(refusal), print_exception=False) from refusal
    return {"audio": song.name, "duration": round(heard.end, 3), "caption": text, "windows": windows}


def _given(path: str | None, visitor: gr.Request | None) -> Song:
    if not path:
        raise Refused("There is no audio: give a file.")
    return library.song(path, visitor.session_hash if visitor else None)


# --- The page


def introduction() -> str:
    """What answers here, and how sure one may be of it, in a sentence or two."""
    facts, figures = listening.status(), card.figures
    million = facts["parameters"] / 1e6
    size = f"{million / 1000:.1f} billion" if million >= 1000 else f"{million:.0f} million"
    where = "this server's processor" if facts["device"] == "cpu" else f"a GPU, in {facts['dtype']}"
    text = f"**{facts['model']}** answers: {size} parameters, on {where}."
    if len(figures) >= 2 * EXTREMES:
        ranked = sorted(figures, key=lambda figure: -figure[1])
        best, worst = (
            [f"{name} {share:.0%}" for name, share in part] for part in (ranked[:EXTREMES], ranked[-EXTREMES:])
        )
        text += f" Right on test clips, at best: {', '.join(best)}; at worst: {', '.join(worst)}."
    return text


def build() -> gr.Blocks:
    """The page and its endpoints."""
    with gr.Blocks(title="Ask a piece of music", analytics_enabled=False, delete_cache=(CLEAN_EVERY, KEEP)) as page:
        memory = gr.State([])
        gr.Markdown(f"# Ask a piece of music\n{introduction()}", elem_id="introduction")
        with gr.Accordion("How sure may one be?", open=False, elem_id="card"):
            gr.Markdown(card_text())
        with gr.Tab("Talk about a song"):
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=320):
                    audio = gr.Audio(
                        label="Song",
                        type="filepath",
                        sources=["upload", "microphone"],
                        interactive=True,
                        buttons=[],
                        elem_id="song",
                        waveform_options={"waveform_color": "#8b8fa8", "waveform_progress_color": "#8b5cf6"},
                    )
                    gr.Examples(
                        [[str(HERE / "examples" / name)] for name in EXAMPLES],
                        [audio],
                        label="Or try",
                        example_labels=list(EXAMPLES.values()),
                        elem_id="examples",
                    )
                    state = gr.HTML(NOTHING_OPEN, html_template=STATE, js_on_load=None, elem_id="state")
                    spectrogram = gr.HTML(
                        None, html_template=SPECTROGRAM, js_on_load="player.follow(element)", elem_id="spectrogram"
                    )
                    with gr.Row():
                        start = gr.Number(None, label="Ask from second", elem_id="from", min_width=120)
                        end = gr.Number(None, label="to second", elem_id="to", min_width=120)
                with gr.Column(scale=6, min_width=320):
                    chat = gr.Chatbot(
                        label="Conversation",
                        height=430,
                        elem_id="chat",
                        feedback_options=None,
                        buttons=["copy"],
                        placeholder="Give me a song and ask about it: what plays, how it is played, what it is like.",
                    )
                    with gr.Row(elem_id="suggestions"):
                        suggestions = [gr.Button(text, size="sm", min_width=0) for text in SUGGESTIONS]
                    box = gr.Textbox(
                        label="Question",
                        placeholder="Ask the song ...",
                        max_length=MAX_QUESTION,
                        submit_btn="Ask",
                        elem_id="question",
                    )
                    with gr.Row():
                        stop = gr.Button("Stop", size="sm", min_width=100)
                        clear = gr.Button("New conversation", size="sm", min_width=100)
                    with gr.Accordion("Settings", open=False, elem_id="settings"):
                        remember = gr.Checkbox(True, label="Answer with the conversation so far in mind")
                        temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature (0: the likeliest answer)")
                        top_p = gr.Slider(0.05, 1, 0.8, step=0.05, label="Top-p, of drawn answers")
                        longest = gr.Slider(8, MAX_NEW_TOKENS, MAX_NEW_TOKENS, step=8, label="Longest answer, tokens")
                        seed = gr.Number(0, label="Seed, of drawn answers", precision=0, minimum=0)
            with gr.Row(elem_id="whole"):
                describe = gr.Button("Describe the whole track", elem_id="describe")
            timeline = gr.HTML(
                {"rows": []}, html_template=TIMELINE, js_on_load="player.guide(element)", elem_id="timeline"
            )
        with gr.Tab("Caption these files"):
            with gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=320):
                    files = gr.File(label="Songs", file_count="multiple", file_types=AUDIO_TYPES, elem_id="files")
                    file_question = gr.Textbox(DESCRIBE, label="Question to each", max_length=MAX_QUESTION)
                    run = gr.Button("Caption", variant="primary", elem_id="run")
                with gr.Column(scale=7, min_width=320):
                    progress = gr.HTML({}, html_template=STATE, js_on_load=None, elem_id="progress")
                    table = gr.HTML({"rows": []}, html_template=TABLE, js_on_load=None, elem_id="captions")
                    with gr.Row():
                        as_csv = gr.DownloadButton("captions.csv", interactive=False, elem_id="csv")
                        as_jsonl = gr.DownloadButton("captions.jsonl", interactive=False, elem_id="jsonl")
        with gr.Accordion("Licences of the examples", open=False):
            gr.Markdown((HERE / "examples" / "LICENSES.md").read_text(encoding="utf-8").partition("\n")[2])

        private = {"api_visibility": "private", "show_progress": "hidden"}
        asking = gr.on(
            [box.submit, *(button.click for button in suggestions)],
            talk,
            [box, audio, start, end, remember, temperature, top_p, longest, seed, chat, memory],
            [box, chat, memory],
            trigger_mode="once",
            **private,
        )
        describing = describe.click(describe_track, audio, timeline, **private)
        stop.click(None, cancels=[asking, describing], **private)
        # Another song ends what is being said of the last one.
        opened = [state, spectrogram, timeline, start, end, chat, memory]
        audio.change(open_song, audio, opened, trigger_mode="always_last", cancels=[asking, describing], **private)
        part = {"fn": mark_part, "inputs": [spectrogram, start, end], "outputs": spectrogram}
        gr.on([start.change, end.change], **part, trigger_mode="always_last", **private)
        clear.click(lambda: ([], []), None, [chat, memory], **private)
        run.click(caption_files, [files, file_question], [progress, table, as_csv, as_jsonl], **private)
        page.unload(leave)

        with gr.Column(visible=False):
            per_window = gr.Checkbox(False, label="per_window")
            text, result, press = gr.Textbox(label="answer"), gr.JSON(label="caption"), gr.Button()
        press.click(ask, [audio, box, start, end, temperature, top_p, longest, seed], text, api_name="ask")
        press.click(caption, [audio, file_question, per_window], result, api_name="caption")
        gr.api(listening.status, api_name="status")
    return page


def card_text() -> str:
    """What the model's card says of its measurements and limits, as it stands there."""
    sections = {"Measured": card.measured, "Limits": card.limits}
    parts = [f"### {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) or "This model's card tells no measurements: take its answers as guesses."


uploads = Path(gr.utils.get_upload_folder()).resolve()
library = Library(uploads)
gr.set_static_paths([HERE / "examples"])
demo = build().queue(max_size=QUEUE, default_concurrency_limit=AT_ONCE)

if __name__ == "__main__":
    demo.launch(
        theme=THEME,
        css=STYLE,
        head=f"<script>{SCRIPT}</script>",
        mcp_server=True,
        ssr_mode=False,
        max_file_size=MAX_FILE,
        footer_links=["api", "settings"],
    )
