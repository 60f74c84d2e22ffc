// Figures that move while the archive works: each element says by data-live which figure it shows.
const plain = new Intl.NumberFormat("en-US");

let source = null;

export function listen() {
  const where = document.body.dataset.live;
  if (!where || !document.querySelector("[data-live-at]")) return;
  // A page that nobody looks at gives its line back: a browser has six for one place, and videos need some.
  const look = () => (document.hidden ? close() : open(where));
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", close);
  addEventListener("pageshow", look);
  look();
}

function open(where) {
  if (source) return;
  source = new EventSource(where);
  source.addEventListener("figures", (event) => show(JSON.parse(event.data)));
  source.addEventListener("open", () => mark(true));
  source.addEventListener("error", () => mark(false));
}

function close() {
  source?.close();
  source = null;
}

function show(told) {
  for (const each of document.querySelectorAll("[data-live-at]")) {
    const value = each.dataset.liveAt.split(".").reduce((at, name) => (at == null ? at : at[name]), told);
    if (value === undefined || value === null) continue;
    const text = typeof value === "number" ? plain.format(value) : String(value);
    if (each.textContent !== text) each.textContent = text;
  }
  for (const bar of document.querySelectorAll("svg[data-live-bar]")) draw(bar, told);
}

function draw(bar, told) {
  if (!told.seen) return;
  let x = 0;
  for (const [part, count] of [["saved", told.archived], ["dead", told.gone + told.blocked], ["withheld", told.withheld], ["waiting", told.owed]]) {
    const rect = bar.querySelector(`.${part}`);
    const width = (100 * count) / told.seen;
    if (!rect) continue;
    rect.setAttribute("x", x.toFixed(3));
    rect.setAttribute("width", width.toFixed(3));
    x += width;
  }
}

function mark(on) {
  for (const sign of document.querySelectorAll("[data-live-sign]")) {
    sign.textContent = on ? "live" : "not live: trying again";
    sign.classList.toggle("live-off", !on);
  }
}
