// What follows the song as it plays: the spectrogram's mark and the timeline, by which one also moves in the song.
const player = {
  // The song's one <audio>, wherever Gradio's waveform keeps it.
  audio() {
    const search = (root) => {
      for (const element of root.querySelectorAll("*")) {
        if (element.tagName === "AUDIO" && element.getAttribute("src")) return element;
        const found = element.shadowRoot && search(element.shadowRoot);
        if (found) return found;
      }
      return null;
    };
    const song = document.getElementById("song");
    return song && search(song);
  },

  clock(seconds) {
    return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  },

  seek(seconds, play) {
    const audio = this.audio();
    if (!audio) return;
    audio.currentTime = Math.max(0, Math.min(seconds, audio.duration || seconds));
    if (play) audio.play();
  },

  // The spectrogram: mark where the song is and the window around it; click or arrow keys move there.
  follow(element) {
    const plot = () => element.querySelector(".plot");
    element.addEventListener("click", (event) => {
      if (!plot()?.contains(event.target)) return;
      const box = plot().getBoundingClientRect();
      this.seek(((event.clientX - box.left) / box.width) * plot().dataset.seconds);
    });
    element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 }[event.key];
      const audio = this.audio();
      if (!plot()?.contains(event.target) || !audio) return;
      if (step) this.seek(audio.currentTime + step);
      else if (event.key === "Home") this.seek(0);
      else if (event.key === "End") this.seek(audio.duration);
      else if (event.key === " ") audio.paused ? audio.play() : audio.pause();
      else return;
      event.preventDefault();
    });
    setInterval(() => {
      if (!plot()) return;
      const { seconds: total, window } = plot().dataset;
      const now = Math.min(this.audio()?.currentTime || 0, total);
      const begin = Math.min(Math.floor(now / window), Math.ceil(total / window) - 1) * window;
      element.querySelector(".head").style.left = `${(100 * now) / total}%`;
      const mark = element.querySelector(".window").style;
      mark.left = `${(100 * begin) / total}%`;
      mark.width = `${(100 * Math.min(window, total - begin)) / total}%`;
      element.querySelector(".now").textContent = this.clock(now);
      plot().setAttribute("aria-valuenow", now.toFixed(1));
      plot().setAttribute("aria-valuetext", this.clock(now));
    }, 100);
  },

  // The timeline: a click plays from there, and the row that sounds is marked.
  guide(element) {
    const rows = () => [...element.querySelectorAll("button[data-seconds]")];
    element.addEventListener("click", (event) => {
      const row = event.target.closest("button[data-seconds]");
      if (row) this.seek(Number(row.dataset.seconds), true);
    });
    setInterval(() => {
      const audio = this.audio();
      const sounding = audio && audio.currentTime > 0 && rows().findLast((row) => row.dataset.seconds <= audio.currentTime);
      for (const row of rows()) {
        if (row === sounding) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      }
    }, 100);
  },
};
