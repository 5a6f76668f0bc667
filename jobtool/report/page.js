"use strict";
(() => {
  // A row: name, status, files, files as a number, size, bytes, time, seconds, attempts, note.
  const rows = JSON.parse(document.getElementById("rows").textContent);
  const KEYS = [0, 1, 3, 5, 7, 8, 9];
  const SHOWN = [0, 1, 2, 4, 6, 8, 9];
  const STEP = 200;
  const body = document.querySelector("#jobs tbody");
  const text = document.getElementById("text");
  const status = document.getElementById("status");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const heads = [...document.querySelectorAll("#jobs th")];
  let column = -1;
  let sign = 1;
  let limit = STEP;

  const found = () => {
    const words = text.value.toLowerCase();
    const kept = rows.filter((row) =>
      (!status.value || row[1] === status.value) &&
      (!words || row[0].toLowerCase().includes(words) || row[9].toLowerCase().includes(words)));
    if (column >= 0) {
      const key = KEYS[column];
      kept.sort((a, b) => {
        const x = a[key], y = b[key];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    return kept;
  };

  const show = () => {
    const kept = found();
    body.replaceChildren(...kept.slice(0, limit).map((row) => {
      const line = document.createElement("tr");
      SHOWN.forEach((key, at) => {
        const cell = line.insertCell();
        cell.textContent = row[key] ?? "";
        if (at >= 2 && at <= 5) cell.className = "number";
        if (at === 0 || at === 6) cell.className = "name";
        if (at === 1) {
          const dot = document.createElement("i");
          dot.className = `dot ${row[1]}`;
          cell.prepend(dot);
        }
      });
      return line;
    }));
    const shown = Math.min(limit, kept.length).toLocaleString("en");
    count.textContent = `${shown} of ${kept.length.toLocaleString("en")} jobs`;
    more.hidden = kept.length <= limit;
  };

  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    sign = column === at ? -sign : at >= 2 && at <= 5 ? -1 : 1;
    column = at;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    show();
  }));
  const again = () => { limit = STEP; show(); };
  text.addEventListener("input", again);
  status.addEventListener("input", again);
  more.addEventListener("click", () => { limit += STEP; show(); });
  document.getElementById("tools").hidden = false;
  show();
})();
