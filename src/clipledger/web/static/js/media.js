// Pictures and players: reveal on a click, photos one by one with their sound, muted playing on demand.
export function media(part) {
  for (const veil of part.querySelectorAll("[data-reveal]")) veil.addEventListener("click", reveal);
  for (const box of part.querySelectorAll("[data-slides]")) slides(box);
  for (const bar of part.querySelectorAll("[data-leaf]")) leaf(bar);
  for (const video of part.querySelectorAll("video[data-player]")) video.addEventListener("error", () => cannot(video), true);
  for (const picture of part.querySelectorAll(".shot img")) picture.addEventListener("error", () => { picture.hidden = true; });
  for (const button of part.querySelectorAll("[data-play-muted]")) button.addEventListener("click", () => turn(button));
  for (const button of part.querySelectorAll("[data-blur-all]")) button.addEventListener("click", () => blurAll(button));
  if (playing) watch(part);
  if (blurred) veil(part);
}

function reveal(event) {
  event.preventDefault();
  const box = event.currentTarget.closest(".card, .player");
  for (const shot of box.querySelectorAll(".veiled")) shot.classList.remove("veiled");
  event.currentTarget.remove();
}

function cannot(video) {
  const say = document.querySelector("[data-cannot-play]");
  if (say) say.hidden = false;
  video.hidden = video.networkState === HTMLMediaElement.NETWORK_NO_SOURCE && !video.poster;
}

let blurred = false;

function blurAll(button) {
  blurred = !blurred;
  button.setAttribute("aria-pressed", String(blurred));
  if (blurred) veil(document);
  else for (const each of document.querySelectorAll(".veil[data-all]")) each.click();
}

function veil(part) {
  for (const card of part.querySelectorAll(".card")) {
    if (card.querySelector(".veil")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "veil";
    button.dataset.all = "";
    button.textContent = "Show it";
    button.addEventListener("click", reveal);
    card.querySelector(".shot")?.classList.add("veiled");
    card.append(button);
  }
}

function slides(box) {
  const strip = box.querySelector(".slides");
  const told = box.querySelector("[data-slide-told]");
  const count = strip.children.length;
  const at = () => Math.round(strip.scrollLeft / Math.max(strip.clientWidth, 1));
  const go = (way) => {
    const to = (at() + way + count) % count;
    strip.scrollTo({ left: to * strip.clientWidth, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  box.querySelector("[data-slide-next]")?.addEventListener("click", () => go(1));
  box.querySelector("[data-slide-back]")?.addEventListener("click", () => go(-1));
  strip.addEventListener("scroll", () => { told.textContent = `${at() + 1} of ${count}`; }, { passive: true });
}

// In the gallery: a card's photos one by one, in its place, with the sound of one card at a time.
function leaf(bar) {
  const shot = bar.parentElement.querySelector(".shot");
  const told = shot.querySelector("[data-leaf-told]");
  const links = bar.dataset.leaf.split(" ");
  let at = 0;
  const go = (way) => {
    at = (at + way + links.length) % links.length;
    const photo = document.createElement(links[at].includes("/video/") ? "video" : "img");
    if (photo instanceof HTMLVideoElement) Object.assign(photo, { muted: true, loop: true, playsInline: true, autoplay: true });
    else photo.alt = `Photo ${at + 1} of ${links.length}`;
    photo.addEventListener("error", () => { photo.hidden = true; });
    photo.src = links[at];
    for (const old of shot.querySelectorAll("img, video, .mid")) old.remove();
    shot.prepend(photo);
    told.textContent = `${at + 1} of ${links.length}`;
  };
  bar.querySelector("[data-leaf-next]")?.addEventListener("click", () => go(1));
  bar.querySelector("[data-leaf-back]")?.addEventListener("click", () => go(-1));
  bar.querySelector("[data-leaf-sound]")?.addEventListener("click", hear);
}

let heard = null;

function hear({ currentTarget: button }) {
  const own = heard?.button === button;
  hush();
  if (own) return;
  heard = { button, sound: new Audio(button.dataset.leafSound) };
  heard.sound.loop = true;
  button.setAttribute("aria-pressed", "true");
  heard.sound.play().catch(() => { if (heard?.button === button) hush(); });
}

function hush() {
  heard?.sound.pause();
  heard?.button.setAttribute("aria-pressed", "false");
  heard = null;
}

let playing = false;
let seen = null;

function turn(button) {
  playing = !playing;
  button.setAttribute("aria-pressed", String(playing));
  button.textContent = playing ? "Stop playing" : "Play muted";
  if (playing) { watch(document); return; }
  seen?.disconnect();
  seen = null;
  for (const video of document.querySelectorAll(".shot video[data-muted]")) video.remove();
}

function watch(part) {
  seen ??= new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => (isIntersecting ? begin(target) : end(target))), { threshold: 0.6 });
  for (const shot of part.querySelectorAll(".shot[data-video]:not(.veiled)")) seen.observe(shot);
}

function begin(shot) {
  if (shot.querySelector("video")) return;
  const video = document.createElement("video");
  video.dataset.muted = "";
  video.muted = true;
  video.loop = true;
  video.playsInline = true;
  video.src = shot.dataset.video;
  video.addEventListener("error", () => video.remove());
  shot.prepend(video);
  shot.querySelector("img")?.before(video);
  video.play().then(() => { const still = shot.querySelector("img"); if (still && video.isConnected) still.after(video); }, () => video.remove());
}

function end(shot) {
  shot.querySelector("video[data-muted]")?.remove();
}
