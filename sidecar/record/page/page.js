"use strict";
(() => {
  const one = (id) => document.getElementById(id);
  const entries = [...document.querySelectorAll(".entry")].map((row) => ({ row, text: row.textContent.toLowerCase(), kind: row.dataset.kind }));
  const search = one("search");
  const boxes = [...document.querySelectorAll("#tools input[name=kind]")];

  // The terminal, and a way from a command to its moment in it.
  const cast = one("cast");
  if (cast && window.AsciinemaPlayer) {
    const player = AsciinemaPlayer.create({ data: JSON.parse(cast.textContent) }, one("player"), {
      fit: "width", idleTimeLimit: 2, preload: true, controls: true, theme: "asciinema", terminalLineHeight: 1.33,
      terminalFontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    });
    window.chaperonePlayer = player;
    // With idle time cut short, the player's time is not the recording's.
    const times = [];
    let before = 0, shown = 0;
    for (const line of JSON.parse(cast.textContent).split("\n").slice(1)) {
      if (!line) continue;
      const wait = JSON.parse(line)[0];
      times.push([before += wait, shown += Math.min(wait, 2)]);
    }
    const inPlayer = (at) => {
      let last = [0, 0];
      for (const t of times) {
        if (t[0] > at) return last[1] + Math.min(at - last[0], 2);
        last = t;
      }
      return last[1];
    };
    for (const { row } of entries) {
      const time = row.querySelector("time");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "jump";
      button.title = "show the terminal at this moment";
      button.append(time.textContent);
      button.addEventListener("click", () => {
        player.seek(inPlayer(Number(row.dataset.at))).then(() => one("terminal").scrollIntoView({ block: "nearest" }));
      });
      time.replaceChildren(button);
    }
  }

  const mark = (words) => {
    if (!window.Highlight || !CSS.highlights) return;
    CSS.highlights.delete("found");
    const word = words[0];
    if (!word) return;
    const ranges = [];
    for (const { row } of entries) {
      if (row.hidden || ranges.length > 2000) continue;
      const walk = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
      for (let node; (node = walk.nextNode()); ) {
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue;
        for (const w of words) {
          for (let at = text.indexOf(w); at >= 0; at = text.indexOf(w, at + w.length)) {
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + w.length);
            ranges.push(range);
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };

  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = new Set(boxes.filter((b) => b.checked).map((b) => b.value));
    let left = 0;
    for (const e of entries) {
      const fits = kinds.has(e.kind) && words.every((w) => e.text.includes(w));
      e.row.hidden = !fits;
      if (fits) left++;
    }
    one("count").textContent = left === entries.length ? `${left} entries` : `${left} of ${entries.length} entries`;
    one("nothing").hidden = left > 0 || entries.length === 0;
    mark(words);
  };
  search.addEventListener("input", show);
  for (const b of boxes) b.addEventListener("change", show);
  one("tools").addEventListener("submit", (e) => e.preventDefault());
  document.addEventListener("keydown", (e) => {
    if (e.key === "/" && document.activeElement !== search) {
      e.preventDefault();
      search.focus();
    } else if (e.key === "Escape" && document.activeElement === search) {
      search.value = "";
      show();
    }
  });
  show();
})();
