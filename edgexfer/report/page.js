"use strict";
// Everything on the page reads without this script; it adds exact values on hover, and copying.
(() => {
  document.addEventListener("pointerover", (event) => {
    const number = event.target.closest && event.target.closest("data[data-from]");
    if (number && !number.title) number.title = number.value + "\n" + number.dataset.from;
  });
  for (const button of document.querySelectorAll("button.copy")) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
})();
