// Keys: / search, ? help, j and k (or arrows) through posts and rows, g and a letter to a screen, t theme.
const PLACES = { n: "/", g: "/gallery", s: "/sources", f: "/queue", x: "/gone", b: "/budget", y: "/system", r: "/removals", d: "/search" };
const STEPS = { j: 1, ArrowRight: 1, ArrowDown: 1, k: -1, ArrowLeft: -1, ArrowUp: -1 };
let going = false;

export function keys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (press(event.key)) event.preventDefault();
  });
  for (const opener of document.querySelectorAll("[data-help]")) opener.addEventListener("click", help);
}

export function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* private windows keep nothing */ }
  document.dispatchEvent(new CustomEvent("theme"));
}

function press(key) {
  if (going) {
    going = false;
    if (PLACES[key]) { location.href = PLACES[key]; return true; }
  }
  if (key === "g") { going = true; return true; }
  if (key === "/") return focus(document.querySelector("[data-find]"));
  if (key === "?") { help(); return true; }
  if (key === "t") { turnTheme(); return true; }
  return key in STEPS ? step(STEPS[key], key) : false;
}

function step(way, key) {
  const link = document.querySelector(way > 0 ? "a[rel=next][data-step]" : "a[rel=prev][data-step]");
  if (link && !key.startsWith("ArrowUp") && !key.startsWith("ArrowDown")) { link.click(); return true; }
  const all = [...document.querySelectorAll("[data-card]")];
  if (!all.length || (key.startsWith("Arrow") && !all.includes(document.activeElement))) return false;
  const at = all.indexOf(document.activeElement);
  return focus(all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + way))]);
}

function focus(element) {
  if (!element) return false;
  element.focus();
  if (element.matches("[data-card]")) element.scrollIntoView({ block: "nearest" });
  return true;
}

function help() {
  const dialog = document.getElementById("help");
  if (dialog && !dialog.open) dialog.showModal();
}

function typing(target) {
  return target instanceof HTMLElement && (target.matches("input, textarea, select, video, audio") || target.isContentEditable);
}
