"use strict";
// Asks whether anything changed; only then loads the page again and puts in the parts that differ. The server draws, once.

const EVERY_MS = 3000;
const live = document.getElementById("live");
const drawn = new Map([...document.querySelectorAll("[data-part]")].map((part) => [part.id, part.outerHTML]));
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
let tag = null;

async function look() {
  try {
    const answer = await fetch("/api/overview", { headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 401) return location.assign("/login");
    if (answer.ok) {
      await redraw();
      tag = answer.headers.get("ETag");
    }
    say(answer.ok || answer.status === 304 ? "live" : "lost");
  } catch {
    say("lost");
  }
  age();
  setTimeout(look, EVERY_MS);
}

async function redraw() {
  const answer = await fetch("/");
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const focused = document.activeElement?.id;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    if (drawn.get(part.id) === part.outerHTML) continue;
    drawn.set(part.id, part.outerHTML);
    document.getElementById(part.id)?.replaceWith(document.adoptNode(part));
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
}

function say(state) {
  if (live.dataset.state === state) return; // screen readers hear changes only
  live.dataset.state = state;
  live.textContent = state === "live" ? "live" : "connection lost";
}

function age() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
    time.textContent = unit === "second" ? "just now" : words.format(Math.round(seconds / size), unit);
  }
}

age();
look();
