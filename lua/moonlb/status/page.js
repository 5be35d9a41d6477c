// The status page's live part: rows that changed come as HTML from the server, which escapes every value; ages are
// counted here; the map's cells say what they are at once. Without this file the page is the same and stands still.
"use strict";

const live = document.getElementById("live");
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function duration(seconds) {
  for (const [size, name] of UNITS) {
    if (seconds >= size) return Math.floor(seconds / size) + " " + name;
  }
  return "0 s";
}

function countAges() {
  for (const time of document.getElementsByTagName("time")) {
    const text = duration((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

function element(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// A region's children are known by their ids; `order` says which there are, `html` what those that changed are now.
function applyRegion(region, change) {
  const known = new Map();
  for (const child of region.children) known.set(child.id, child);
  const isFirst = region.dataset.known === undefined;
  region.dataset.known = "";
  for (const [id, html] of Object.entries(change.html)) {
    const fresh = element(html);
    const old = known.get(id);
    if (old && old.outerHTML === fresh.outerHTML) continue;
    if (!isFirst) fresh.classList.add("fresh");
    if (old && !change.order) old.replaceWith(fresh);
    known.set(id, fresh);
  }
  if (change.order) region.replaceChildren(...change.order.map((id) => known.get(id)).filter(Boolean));
}

function onChange(event) {
  for (const [name, change] of Object.entries(JSON.parse(event.data))) {
    const region = document.querySelector(`[data-region="${name}"]`);
    if (region) applyRegion(region, change);
  }
  countAges();
  document.documentElement.dataset.changes = Number(document.documentElement.dataset.changes || 0) + 1;
}

function follow() {
  const source = new EventSource("/status/events" + location.search);
  source.addEventListener("change", onChange);
  source.onopen = () => { live.textContent = "live"; live.className = "on"; };
  source.onerror = () => {
    live.textContent = "connecting again …";
    live.className = "off";
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
  };
}

// Browsers take their time to show a title; a map wants to be read by sweeping over it.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function showTip(cell) {
  if (cell.title) {
    cell.dataset.tip = cell.title;
    cell.setAttribute("aria-label", cell.title);
    cell.removeAttribute("title");
  }
  tip.textContent = cell.dataset.tip;
  tip.hidden = false;
  const box = cell.getBoundingClientRect();
  const left = Math.min(box.left + scrollX, scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = box.bottom + scrollY + 6 + "px";
}

function onPoint(event) {
  const cell = event.target.closest && event.target.closest(".cells .c");
  if (cell) showTip(cell);
  else tip.hidden = true;
}

document.addEventListener("pointerover", onPoint);
document.addEventListener("focusin", onPoint);

countAges();
setInterval(countAges, 5000);
follow();
