"use strict";
// A courtesy only: a form that is sent twice does its work once, with or without this.
for (const form of document.querySelectorAll("form[data-sending]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = form.querySelector("button:not([type=button])");
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.sending;
  });
}
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    window.location.reload();
  }
});
