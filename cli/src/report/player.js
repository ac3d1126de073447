// Plays recorded terminals. Without it, the page shows what they printed as lines.
"use strict";
(() => {
  const PALETTE = ["#262c35", "#f47067", "#57ab5a", "#c69026", "#539bf5", "#b083f0", "#39c5cf", "#d3d7dc",
    "#768390", "#ff938a", "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#ffffff"];
  const color = (index) => {
    if (index < 16) return PALETTE[index];
    if (index > 231) { const grey = 8 + (index - 232) * 10; return `rgb(${grey},${grey},${grey})`; }
    const level = (n) => (n ? 55 + n * 40 : 0);
    const n = index - 16;
    return `rgb(${level(Math.floor(n / 36))},${level(Math.floor(n / 6) % 6)},${level(n % 6)})`;
  };
  const clamp = (n, low, high) => Math.min(Math.max(n, low), high);

  class Screen {
    constructor(columns, rows) { this.resize(columns, rows); this.reset(); }
    resize(columns, rows) {
      this.columns = clamp(columns || 80, 1, 500);
      this.rows = clamp(rows || 24, 1, 200);
      if (!this.lines) return;
      this.lines = Array.from({ length: this.rows }, (_, y) => this.fit(this.lines[y] || []));
      this.top = 0; this.bottom = this.rows - 1;
      this.x = clamp(this.x, 0, this.columns - 1); this.y = clamp(this.y, 0, this.rows - 1);
    }
    fit(line) { return Array.from({ length: this.columns }, (_, x) => line[x] || this.blank()); }
    reset() {
      this.style = {}; this.x = 0; this.y = 0; this.top = 0; this.bottom = this.rows - 1; this.wrap = false;
      this.saved = [0, 0, {}]; this.state = "ground"; this.sequence = ""; this.shown = true; this.other = null;
      this.lines = this.empty(); this.decoder = new TextDecoder();
    }
    blank() { return { c: " ", s: this.style && this.style.b ? { b: this.style.b } : {} }; }
    empty() { return Array.from({ length: this.rows }, () => Array.from({ length: this.columns }, () => this.blank())); }
    scroll(n) {
      for (; n > 0; n--) { this.lines.splice(this.top, 1); this.lines.splice(this.bottom, 0, this.fit([])); }
      for (; n < 0; n++) { this.lines.splice(this.bottom, 1); this.lines.splice(this.top, 0, this.fit([])); }
    }
    feed(bytes) { for (const c of this.decoder.decode(bytes, { stream: true })) this.take(c); }
    take(c) {
      if (this.state === "ground") return this.ground(c);
      if (this.state === "escape") return this.escape(c);
      if (this.state === "text") { if (c === "\x07") this.state = "ground"; else if (c === "\x1b") this.state = "end"; return; }
      if (this.state === "end") { this.state = c === "\\" ? "ground" : "text"; return; }
      if (this.state === "one") { this.state = "ground"; return; }
      if (c >= "@" && c <= "~") { this.state = "ground"; return this.control(c, this.sequence); }
      this.sequence += c;
      if (this.sequence.length > 200) this.state = "ground";
    }
    ground(c) {
      switch (c) {
        case "\x1b": this.state = "escape"; return;
        case "\n": case "\x0b": case "\x0c": return this.down();
        case "\r": this.x = 0; this.wrap = false; return;
        case "\b": this.x = Math.max(this.x - 1, 0); this.wrap = false; return;
        case "\t": this.x = Math.min((Math.floor(this.x / 8) + 1) * 8, this.columns - 1); return;
      }
      if (c < " " || c === "\x7f") return;
      if (this.wrap) { this.x = 0; this.down(); }
      this.lines[this.y][this.x] = { c, s: this.style };
      if (this.x < this.columns - 1) { this.x++; this.wrap = false; } else this.wrap = true;
    }
    down() { this.wrap = false; if (this.y === this.bottom) this.scroll(1); else this.y = Math.min(this.y + 1, this.rows - 1); }
    escape(c) {
      this.state = "ground";
      if (c === "[") { this.state = "control"; this.sequence = ""; }
      else if ("]PX^_".includes(c)) this.state = "text";
      else if ("()*+#% ".includes(c)) this.state = "one";
      else if (c === "7") this.saved = [this.x, this.y, this.style];
      else if (c === "8") [this.x, this.y, this.style] = this.saved;
      else if (c === "D") this.down();
      else if (c === "E") { this.x = 0; this.down(); }
      else if (c === "M") { if (this.y === this.top) this.scroll(-1); else this.y = Math.max(this.y - 1, 0); }
      else if (c === "c") this.reset();
    }
    control(c, sequence) {
      const secret = sequence.startsWith("?");
      const numbers = sequence.replace(/^[?>=!]/, "").split(/[;:]/).map((n) => parseInt(n, 10));
      const n = numbers[0] || 0, one = Math.max(n, 1);
      this.wrap = false;
      if (secret) { if ("hl".includes(c)) numbers.forEach((mode) => this.mode(mode, c === "h")); return; }
      switch (c) {
        case "A": this.y = Math.max(this.y - one, 0); break;
        case "B": case "e": this.y = Math.min(this.y + one, this.rows - 1); break;
        case "C": case "a": this.x = Math.min(this.x + one, this.columns - 1); break;
        case "D": this.x = Math.max(this.x - one, 0); break;
        case "E": this.x = 0; this.y = Math.min(this.y + one, this.rows - 1); break;
        case "F": this.x = 0; this.y = Math.max(this.y - one, 0); break;
        case "G": case "`": this.x = clamp(one - 1, 0, this.columns - 1); break;
        case "d": this.y = clamp(one - 1, 0, this.rows - 1); break;
        case "H": case "f":
          this.y = clamp(one - 1, 0, this.rows - 1); this.x = clamp((numbers[1] || 1) - 1, 0, this.columns - 1); break;
        case "J":
          if (n === 0) { this.erase(this.y, this.x, this.columns); for (let y = this.y + 1; y < this.rows; y++) this.erase(y, 0, this.columns); }
          else if (n === 1) { for (let y = 0; y < this.y; y++) this.erase(y, 0, this.columns); this.erase(this.y, 0, this.x + 1); }
          else for (let y = 0; y < this.rows; y++) this.erase(y, 0, this.columns);
          break;
        case "K": this.erase(this.y, n === 0 ? this.x : 0, n === 1 ? this.x + 1 : this.columns); break;
        case "X": this.erase(this.y, this.x, Math.min(this.x + one, this.columns)); break;
        case "P": this.lines[this.y].splice(this.x, Math.min(one, this.columns)); this.lines[this.y] = this.fit(this.lines[this.y]); break;
        case "@": for (let i = 0; i < Math.min(one, this.columns); i++) this.lines[this.y].splice(this.x, 0, this.blank()); this.lines[this.y].length = this.columns; break;
        case "L": case "M": {
          if (this.y < this.top || this.y > this.bottom) break;
          const top = this.top; this.top = this.y; this.scroll((c === "M" ? 1 : -1) * Math.min(one, this.rows)); this.top = top; break;
        }
        case "S": this.scroll(Math.min(one, this.rows)); break;
        case "T": this.scroll(-Math.min(one, this.rows)); break;
        case "r":
          this.top = clamp(one - 1, 0, this.rows - 1); this.bottom = clamp((numbers[1] || this.rows) - 1, this.top, this.rows - 1);
          this.x = 0; this.y = 0; break;
        case "s": this.saved = [this.x, this.y, this.style]; break;
        case "u": [this.x, this.y, this.style] = this.saved; break;
        case "m": this.paint(numbers); break;
      }
    }
    erase(y, from, to) { for (let x = from; x < to; x++) this.lines[y][x] = this.blank(); }
    mode(mode, on) {
      if (mode === 25) this.shown = on;
      if (![47, 1047, 1049].includes(mode)) return;
      if (on && !this.other) { this.other = [this.lines, this.x, this.y]; this.lines = this.empty(); }
      else if (!on && this.other) { const [lines, x, y] = this.other; this.lines = Array.from({ length: this.rows }, (_, i) => this.fit(lines[i] || [])); this.x = clamp(x, 0, this.columns - 1); this.y = clamp(y, 0, this.rows - 1); this.other = null; }
    }
    paint(numbers) {
      let style = { ...this.style };
      for (let i = 0; i < numbers.length; i++) {
        const n = numbers[i] || 0;
        if (n === 0) style = {};
        else if (n === 1) style.bold = true; else if (n === 2) style.faint = true; else if (n === 3) style.italic = true;
        else if (n === 4) style.line = true; else if (n === 7) style.turn = true;
        else if (n === 22) { delete style.bold; delete style.faint; } else if (n === 23) delete style.italic;
        else if (n === 24) delete style.line; else if (n === 27) delete style.turn;
        else if (n >= 30 && n <= 37) style.f = color(n - 30); else if (n >= 90 && n <= 97) style.f = color(n - 82);
        else if (n >= 40 && n <= 47) style.b = color(n - 40); else if (n >= 100 && n <= 107) style.b = color(n - 92);
        else if (n === 39) delete style.f; else if (n === 49) delete style.b;
        else if (n === 38 || n === 48) {
          const which = n === 38 ? "f" : "b";
          if (numbers[i + 1] === 5) { style[which] = color(clamp(numbers[i + 2] || 0, 0, 255)); i += 2; }
          else if (numbers[i + 1] === 2) { style[which] = `rgb(${[2, 3, 4].map((k) => clamp(numbers[i + k] || 0, 0, 255))})`; i += 4; }
        }
      }
      this.style = style;
    }
    show(into) {
      const page = document.createDocumentFragment();
      this.lines.forEach((line, y) => {
        let text = "", style = null, cursor = false;
        const flush = () => {
          if (!text) return;
          const span = document.createElement("span");
          span.textContent = text;
          if (cursor) span.className = "cursor";
          if (style) {
            const [f, b] = style.turn ? [style.b || "#14171c", style.f || "#e6e8eb"] : [style.f, style.b];
            if (f) span.style.color = f;
            if (b) span.style.backgroundColor = b;
            if (style.bold) span.style.fontWeight = "700";
            if (style.faint) span.style.opacity = "0.65";
            if (style.italic) span.style.fontStyle = "italic";
            if (style.line) span.style.textDecoration = "underline";
          }
          page.append(span);
          text = "";
        };
        line.forEach((cell, x) => {
          const here = this.shown && y === this.y && x === this.x;
          if (cell.s !== style || here !== cursor) { flush(); style = cell.s; cursor = here; }
          text += cell.c;
        });
        flush();
        page.append("\n");
      });
      into.replaceChildren(page);
    }
  }

  const clock = (micros) => {
    const seconds = Math.floor(micros / 1e6);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  const element = (name, properties) => Object.assign(document.createElement(name), properties);

  for (const figure of document.querySelectorAll(".terminal")) {
    const recording = JSON.parse(figure.querySelector("script").textContent);
    const frames = recording.frames.map(([at, kind, data]) =>
      [at, kind, kind === "o" ? Uint8Array.from(atob(data), (c) => c.charCodeAt(0)) : data]);
    if (!frames.length) continue;
    const end = frames[frames.length - 1][0];
    const plain = figure.querySelector("pre");
    const view = element("pre", { className: "screen", tabIndex: 0 });
    const play = element("button", { type: "button", textContent: "Play" });
    const place = element("input", { type: "range", min: 0, max: end, value: end, step: 1000, ariaLabel: "Time" });
    const speed = element("select", { ariaLabel: "Speed" });
    for (const factor of [0.5, 1, 2, 5, 20]) speed.append(element("option", { value: factor, textContent: `${factor}×`, selected: factor === 1 }));
    const time = element("span", { className: "mono" });
    const lines = element("button", { type: "button", textContent: "Lines" });
    const controls = element("div", { className: "controls" });
    controls.append(play, place, time, speed, lines);
    const screen = new Screen(recording.columns, recording.rows);
    let next = 0, at = end, last = null;
    const seek = (to) => {
      if (to < at || next === 0) { screen.resize(recording.columns, recording.rows); screen.reset(); next = 0; }
      at = to;
      for (; next < frames.length && frames[next][0] <= at; next++) {
        const [, kind, data] = frames[next];
        if (kind === "o") screen.feed(data); else screen.resize(data[0], data[1]);
      }
      screen.show(view);
      place.value = at;
      time.textContent = `${clock(at)} / ${clock(end)}`;
    };
    const step = (now) => {
      if (last === null) return;
      // Long pauses are shortened to two seconds, as nobody watches somebody think.
      let to = at + (now - last) * 1000 * Number(speed.value);
      if (next < frames.length && frames[next][0] - to > 2e6) to = frames[next][0] - 2e6;
      last = now;
      seek(Math.min(to, end));
      if (at >= end) { last = null; play.textContent = "Play"; } else requestAnimationFrame(step);
    };
    play.addEventListener("click", () => {
      if (last !== null) { last = null; play.textContent = "Play"; return; }
      if (at >= end) seek(0);
      last = performance.now(); play.textContent = "Pause";
      requestAnimationFrame(step);
    });
    place.addEventListener("input", () => seek(Number(place.value)));
    lines.addEventListener("click", () => {
      plain.hidden = !plain.hidden; view.hidden = !plain.hidden;
      lines.textContent = plain.hidden ? "Lines" : "Screen";
    });
    plain.hidden = true;
    figure.prepend(view);
    figure.append(controls);
    seek(end);
  }
})();
