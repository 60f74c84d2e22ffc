// Forms: choose all rows, ask before what cannot be undone, send a filter when it is changed.
document.addEventListener("htmx:responseError", (event) => say(event.detail.xhr));

function say(answer) {
  const place = document.getElementById("said");
  const line = document.createElement("p");
  line.className = "note warning";
  try {
    const told = JSON.parse(answer.responseText);
    line.textContent = `${told.detail} ${told.next}`;
  } catch {
    line.textContent = "That did not work. Load the page again.";
  }
  place?.replaceChildren(line);
}

export function forms(part) {
  for (const box of part.querySelectorAll("input[data-all]")) {
    box.addEventListener("change", () => {
      for (const each of document.querySelectorAll(`input[name="${CSS.escape(box.dataset.all)}"]`)) each.checked = box.checked;
    });
  }
  for (const form of part.querySelectorAll("form[data-sure]")) {
    form.addEventListener("submit", (event) => { if (!confirm(form.dataset.sure)) event.preventDefault(); });
  }
  for (const field of part.querySelectorAll("[data-send]")) field.addEventListener("change", () => field.form.requestSubmit());
  for (const button of part.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
}

async function copy(button) {
  const from = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(from);
  }
}
