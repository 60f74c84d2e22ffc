// Times as the reader's clock shows them, UTC on hover. The text keeps its length, so nothing moves.
const two = (n) => String(n).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

export function showTimes(part) {
  for (const time of part.querySelectorAll("time[datetime]:not([data-shown])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.dataset.shown = "";
    time.title = `${time.dateTime.slice(0, 19).replace("T", " ")} UTC`;
    if (time.dataset.as === "day") continue;
    time.textContent = `${day(at)} ${two(at.getHours())}:${two(at.getMinutes())}`;
  }
}

export function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}
