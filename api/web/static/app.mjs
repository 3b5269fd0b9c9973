// Everything on the pages works without this file: it adds the "/" key, the print and copy buttons and the charts' read-out.

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = document.getElementById("q");
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  }
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// Where a page may write to the clipboard; elsewhere the text is selected, so that one keystroke copies it.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      if (!document.execCommand("copy")) return;
    }
    document.querySelector("[data-copy-said]").textContent = button.dataset.copied;
  });
}

// The read-out repeats the day's row of the table under the chart, so the numbers are written once, by the server.
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest?.("rect.hit");
  const figure = mark?.closest("figure");
  if (!figure) return;
  const row = figure.querySelectorAll("details.data tbody tr")[Number(mark.dataset.row)];
  const heads = [...figure.querySelectorAll("details.data thead th")].map((cell) => cell.textContent);
  const cells = [...(row?.children ?? [])].map((cell) => cell.textContent);
  figure.querySelector(".readout").textContent = cells.map((text, index) => `${heads[index]} ${text}`).join(" · ");
});
