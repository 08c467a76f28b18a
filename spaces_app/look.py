"""How the page looks: its theme, and templates of what Gradio has no component for, in which values are escaped."""

from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent
STYLE = (HERE / "page.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "player.js").read_text(encoding="utf-8")

# A line that tells how things stand, or what went wrong.
STATE = """<p role="status" class="{{#if value.problem}}problem{{/if}}">{{value.text}}</p>"""

SPECTROGRAM = """{{#if value.picture}}
<div class="plot" data-seconds="{{value.seconds}}" data-window="{{value.window}}"
     tabindex="0" role="slider" aria-label="Position in the song"
     aria-valuemin="0" aria-valuenow="0" aria-valuemax="{{value.seconds}}" aria-valuetext="0:00">
  <img src="{{value.picture}}" alt="Spectrogram of {{value.name}}, high notes above">
  <div class="window"></div>
  {{#if value.part}}<div class="part" style="left: {{value.part.left}}%; width: {{value.part.width}}%"></div>{{/if}}
  <div class="head"></div>
</div>
<div class="scale">
  <span class="now">0:00</span>
  <span>bright: the window that the model hears as one</span>
  <span>{{value.end}}</span>
</div>
{{/if}}"""

TIMELINE = """{{#if value.note}}<p role="status">{{value.note}}</p>{{/if}}
<ol>{{#each value.rows}}<li>
  <button type="button" data-seconds="{{this.seconds}}">
    <time>{{this.clock}}</time><span>{{this.caption}}</span>
  </button>
</li>{{/each}}</ol>"""

TABLE = """{{#if value.rows.length}}<table>
<thead><tr><th scope="col">File</th><th scope="col">Length</th><th scope="col">Caption</th></tr></thead>
<tbody>{{#each value.rows}}<tr>
  <th scope="row">{{this.audio}}</th><td>{{this.clock}}</td>
  {{#if this.error}}<td class="problem">{{this.error}}</td>{{else}}<td>{{this.caption}}</td>{{/if}}
</tr>{{/each}}</tbody>
</table>{{/if}}"""

THEME = gr.themes.Soft(
    primary_hue="violet",
    secondary_hue="slate",
    neutral_hue="slate",
    radius_size="lg",
    font=["system-ui", "sans-serif"],  # the visitor's own: nothing is fetched from elsewhere
    font_mono=["ui-monospace", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_text_color_subdued="*neutral_500",
    block_background_fill="white",
    block_border_width="1px",
    block_border_color="*neutral_200",
    block_shadow="none",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_label_text_color="*neutral_500",
    block_label_text_color_dark="*neutral_400",
    block_title_background_fill="transparent",
    block_title_background_fill_dark="transparent",
    block_title_text_color="*neutral_500",
    block_title_text_color_dark="*neutral_400",
    block_title_padding="0",
    input_background_fill="*neutral_50",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_secondary_text_color="*neutral_700",
)
