"""The metric's page, as a Space: paste a prediction and a reference, see every score of both."""

import evaluate
import gradio as gr

METRICS = {name: evaluate.load("musicqa.py", name) for name in ("legacy", "standard")}


def score(prediction: str, reference: str) -> dict[str, dict]:
    """What both protocols give this pair."""
    return {name: metric.compute(predictions=[prediction], references=[reference]) for name, metric in METRICS.items()}


demo = gr.Interface(
    score,
    inputs=[gr.Textbox(label="Prediction"), gr.Textbox(label="Reference")],
    outputs=gr.JSON(label="Scores"),
    title="MusicQA",
    description="MU-LLaMA's published protocol (`legacy`) and a sound one (`standard`).",
    examples=[["A slow piano piece.", "A slow and sad piano."]],
)

if __name__ == "__main__":
    demo.launch()
