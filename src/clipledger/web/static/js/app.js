// What every page has: times in the reader's zone, keys, live figures, pictures and players.
import { showTimes } from "./times.js";
import { listen } from "./live.js";
import { keys, turnTheme } from "./keys.js";
import { media } from "./media.js";
import { forms } from "./forms.js";

const settle = (part) => {
  showTimes(part);
  media(part);
  forms(part);
};

settle(document);
const menu = document.querySelector(".menu"); // on a phone it is wider than the screen
const here = menu?.querySelector("[aria-current]");
if (here) menu.scrollLeft = here.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
keys();
listen();
document.addEventListener("htmx:load", (event) => { if (event.detail.elt !== document.body) settle(event.detail.elt); });
for (const button of document.querySelectorAll("[data-turn-theme]")) button.addEventListener("click", turnTheme);
