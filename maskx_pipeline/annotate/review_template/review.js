// The index of all masks is loaded first, to filter by; outlines come in chunks and pictures one by one, as they are looked at.
const PAGE = 24; // thumbnails
const KEPT = 80; // chunks in memory
const SVG = "http://www.w3.org/2000/svg";
const WORDS = { a: "accepted", r: "rejected" };

const trouble = (text) => {
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
};

byId("filters").open = matchMedia("(min-width: 860px)").matches; // on a phone the mask comes first

// Decisions: annotation id -> "a" or "r", under the digest of the annotation file.
const KEY = `maskx review ${document.body.dataset.key}`;
let decisions = new Map();
const readDecisions = () => {
  try {
    decisions = new Map(Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}")));
  } catch {
    trouble("This browser does not keep decisions. Download them before you close the page.");
  }
};
const keepDecisions = () => {
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(decisions)));
  } catch {
    trouble("This browser keeps no more decisions. Download them before you close the page.");
  }
};
readDecisions();
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return; // another tab with this page
  readDecisions();
  refresh();
});

let index = { ids: [], confidences: [], categories: [], names: [], chunk: 1 };
let listed = []; // ranks that the filter leaves
let at = 0; // place in it
let drawn = 0; // counts the calls of draw, so that a late chunk does not draw over a newer one

const load = (name) => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  script.src = `data/${name}.js`;
  script.onload = () => { script.remove(); resolve(); };
  script.onerror = () => { script.remove(); reject(new Error(name)); };
  document.head.append(script);
});
window.maskxIndex = (value) => { index = value; };
const chunks = new Map(); // number -> promise of details, the one used last at the end
const arrived = new Map();
window.maskxChunk = (number, details) => { arrived.set(number, details); };
const detailsOf = async (rank) => {
  const number = Math.floor(rank / index.chunk);
  let chunk = chunks.get(number);
  chunks.delete(number);
  if (!chunk) {
    chunk = load(String(number).padStart(5, "0")).then(() => {
      const details = arrived.get(number);
      arrived.delete(number);
      return details;
    });
    chunk.catch(() => { chunks.delete(number); });
  }
  chunks.set(number, chunk);
  if (chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
  const [file, reason, pictured, width, height, x, y, boxWidth, boxHeight, path] = (await chunk)[rank % index.chunk];
  return { file, reason, pictured, width, height, box: [x, y, boxWidth, boxHeight], path };
};

const idOf = (rank) => index.ids[rank]; // text: ids may be larger than JavaScript's whole numbers
const nameOf = (rank) => index.names[index.categories[rank]][0];
const seen = (rank) => index.names[index.categories[rank]][1];
const confidenceOf = (rank) => index.confidences[rank] / 10000;

const part = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const pictureOf = (rank, details) => {
  const { width, height, box: [x, y, boxWidth, boxHeight] } = details;
  const label = `${nameOf(rank)}, confidence ${confidenceOf(rank).toFixed(2)}, annotation ${idOf(rank)}`;
  const svg = part("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const folder = String(Math.floor(rank / 1000)).padStart(3, "0");
  const area = { x: 0, y: 0, width, height };
  if (details.pictured) {
    const href = `crops/${folder}/${String(rank).padStart(6, "0")}.webp`;
    svg.append(part("image", { ...area, href, preserveAspectRatio: "none" }));
  } else svg.append(part("rect", { ...area, class: "blank" }));
  svg.append(part("path", { d: details.path, class: `mask ${seen(rank) ? "seen" : "unseen"}` }));
  const frame = { x, y, width: boxWidth, height: boxHeight };
  svg.append(part("rect", { ...frame, class: "box-under" }), part("rect", { ...frame, class: "box" }));
  return svg;
};

const applyFilter = (keep) => {
  const category = byId("filter-category").value;
  const decision = byId("filter-decision").value;
  const low = Number(byId("filter-low").value || 0), high = Number(byId("filter-high").value || 1);
  const current = listed[at];
  listed = [];
  for (let rank = 0; rank < index.ids.length; rank++) {
    if (category !== "" && index.categories[rank] !== Number(category)) continue;
    if (confidenceOf(rank) < low || confidenceOf(rank) > high) continue;
    const made = decisions.get(idOf(rank));
    if (decision === "todo" ? made : decision !== "" && made !== decision) continue;
    listed.push(rank);
  }
  if (keep) at = Math.min(at, Math.max(0, listed.length - 1));
  else at = Math.max(0, listed.indexOf(current));
};

const showCounts = () => {
  const made = index.ids.map((id) => decisions.get(id));
  const accepted = made.filter((one) => one === "a").length, rejected = made.filter((one) => one === "r").length;
  byId("progress").textContent = `${accepted} accepted, ${rejected} rejected, ${made.length - accepted - rejected} undecided`;
  byId("download").disabled = accepted + rejected === 0;
};

const drawThumbs = async (call) => {
  const first = Math.floor(at / PAGE) * PAGE;
  const ranks = listed.slice(first, first + PAGE);
  const pages = Math.max(1, Math.ceil(listed.length / PAGE));
  byId("page-count").textContent = `Page ${first / PAGE + 1} of ${pages}`;
  byId("page-previous").disabled = first === 0;
  byId("page-next").disabled = first + PAGE >= listed.length;
  const shown = [...byId("thumbs").children].map((thumb) => Number(thumb.dataset.rank));
  if (shown.join() !== ranks.join()) {
    const thumbs = ranks.map((rank) => {
      const thumb = document.createElement("button");
      thumb.type = "button";
      thumb.className = "thumb";
      thumb.dataset.rank = rank;
      thumb.setAttribute("aria-label", `${nameOf(rank)}, annotation ${idOf(rank)}`);
      thumb.addEventListener("click", () => { at = listed.indexOf(rank); draw(); });
      return thumb;
    });
    byId("thumbs").replaceChildren(...thumbs);
  }
  for (const thumb of byId("thumbs").children) {
    const rank = Number(thumb.dataset.rank), made = decisions.get(idOf(rank));
    thumb.setAttribute("aria-current", String(rank === listed[at]));
    if (made) thumb.dataset.decision = made;
    else delete thumb.dataset.decision;
  }
  for (const thumb of [...byId("thumbs").children].filter((one) => !one.firstChild)) {
    const rank = Number(thumb.dataset.rank);
    const details = await detailsOf(rank).catch(() => null);
    if (call !== drawn) return;
    if (details) thumb.append(pictureOf(rank, details));
  }
};

const setFacts = (values) => {
  for (const id of ["category", "confidence", "reason", "file", "annotation", "decision"]) byId(id).textContent = values[id] ?? "";
};

const draw = async () => {
  const call = ++drawn;
  showCounts();
  const rank = listed[at];
  const none = rank === undefined;
  for (const id of ["accept", "reject", "toggle"]) byId(id).disabled = none;
  byId("previous").disabled = none || at === 0;
  byId("next").disabled = none || at === listed.length - 1;
  byId("count").textContent = none ? "0 masks" : `${at + 1} of ${listed.length}${listed.length < index.ids.length ? ` (of ${index.ids.length})` : ""}`;
  const made = none ? undefined : decisions.get(idOf(rank));
  byId("undo").disabled = !made;
  byId("decision").dataset.decision = made ?? "";
  byId("meter").value = none ? 0 : confidenceOf(rank);
  if (none) {
    const text = document.createElement("p");
    text.textContent = index.ids.length ? "No mask is left by the filter." : "maskx filled in no mask.";
    byId("stage").replaceChildren(text);
    setFacts({});
  } else {
    byId("category").className = seen(rank) ? "seen-word" : "unseen-word";
    const facts = { category: nameOf(rank), confidence: confidenceOf(rank).toFixed(2), annotation: idOf(rank), decision: WORDS[made] ?? "undecided" };
    const details = await detailsOf(rank).catch(() => null);
    if (call !== drawn) return;
    if (!details) {
      trouble("A file of this folder's data/ cannot be loaded. Keep the folder whole.");
      return;
    }
    setFacts({ ...facts, reason: details.reason || "-", file: details.file });
    byId("stage").replaceChildren(pictureOf(rank, details));
  }
  await drawThumbs(call);
};

const go = (place) => {
  if (!listed.length) return;
  at = Math.min(Math.max(place, 0), listed.length - 1);
  draw();
};
const refresh = () => { applyFilter(true); draw(); };
const decide = (made) => {
  const rank = listed[at];
  if (rank === undefined) return;
  if (made) decisions.set(idOf(rank), made);
  else decisions.delete(idOf(rank));
  keepDecisions();
  const before = listed.length;
  applyFilter(true);
  if (made && listed.length === before) at = Math.min(at + 1, listed.length - 1); // else the next one moved here
  draw();
};
const toggle = () => {
  const hidden = document.body.classList.toggle("no-mask");
  byId("toggle").setAttribute("aria-pressed", String(hidden));
};

byId("next").addEventListener("click", () => go(at + 1));
byId("previous").addEventListener("click", () => go(at - 1));
byId("page-next").addEventListener("click", () => go((Math.floor(at / PAGE) + 1) * PAGE));
byId("page-previous").addEventListener("click", () => go((Math.floor(at / PAGE) - 1) * PAGE));
byId("accept").addEventListener("click", () => decide("a"));
byId("reject").addEventListener("click", () => decide("r"));
byId("undo").addEventListener("click", () => decide(null));
byId("toggle").addEventListener("click", toggle);
const KEYS = {
  ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(listed.length - 1),
  a: () => decide("a"), r: () => decide("r"), u: () => decide(null), m: toggle,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
for (const id of ["filter-category", "filter-low", "filter-high", "filter-decision"]) {
  byId(id).addEventListener("change", () => { applyFilter(false); draw(); });
}
byId("filter-reset").addEventListener("click", () => {
  for (const [id, value] of [["filter-category", ""], ["filter-decision", ""], ["filter-low", "0"], ["filter-high", "1"]]) byId(id).value = value;
  applyFilter(false);
  draw();
});

byId("download").addEventListener("click", () => {
  const rows = ["annotation_id,decision,confidence"];
  index.ids.forEach((id, rank) => {
    const made = decisions.get(id);
    if (made) rows.push(`${id},${WORDS[made]},${confidenceOf(rank).toFixed(4)}`);
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${rows.join("\n")}\n`], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

load("index").then(() => {
  const counts = new Map();
  for (const category of index.categories) counts.set(category, (counts.get(category) ?? 0) + 1);
  const groups = { unseen: [], seen: [] };
  index.names.forEach(([name, isSeen], number) => {
    const option = document.createElement("option");
    option.value = String(number);
    option.textContent = `${name} (${counts.get(number)})`;
    groups[isSeen ? "seen" : "unseen"].push(option);
  });
  for (const [label, options] of Object.entries(groups)) {
    if (!options.length) continue;
    const group = document.createElement("optgroup");
    group.label = label;
    group.append(...options);
    byId("filter-category").append(group);
  }
  applyFilter(true);
  draw();
}).catch(() => trouble("data/index.js cannot be loaded. Keep the folder whole."));
