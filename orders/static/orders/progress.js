"use strict";
// Keeps the order page up to date: asks for the part that changes, ever more slowly, until the
// order has ended. Pauses while nobody looks. Without it the page reloads itself.
const place = document.getElementById("progress");
const voice = document.getElementById("voice");
const delays = [1000, 1000, 1000, 1000, 1000, 2000, 2000, 2000, 2000, 2000, 5000];
let asked = 0;
let timer = null;

function isFinal() {
  return place.querySelector("[data-final=yes]") !== null;
}

function sentence() {
  return place.querySelector("[data-sentence]").textContent.trim();
}

function show(html) {
  if (html === place.innerHTML) {
    return;
  }
  const focused = document.activeElement && place.contains(document.activeElement)
    ? document.activeElement.id : "";
  const before = sentence();
  place.innerHTML = html;
  const again = focused && document.getElementById(focused);
  if (again) {
    again.focus();
  }
  // Only the sentence is read out, and only when it is another one.
  if (sentence() !== before) {
    voice.textContent = sentence();
  }
}

async function ask() {
  timer = null;
  try {
    const response = await fetch(place.dataset.source, { headers: { Accept: "text/html" } });
    if (response.redirected) {
      window.location.reload();
      return;
    }
    if (response.ok) {
      show(await response.text());
    }
  } catch (error) {
    asked = delays.length;
  }
  wait();
}

function wait() {
  if (timer === null && !document.hidden && !isFinal()) {
    timer = setTimeout(ask, delays[Math.min(asked, delays.length - 1)]);
    asked += 1;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    timer = null;
  } else {
    asked = 0;
    wait();
  }
});
wait();
