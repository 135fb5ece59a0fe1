// Without this script the page shows everything; it adds the theme switch, the filters and the lightbox.

const gainRun = byId("gain-run");
if (gainRun) {
  const showGain = () => {
    for (const plot of document.querySelectorAll(".gain")) plot.hidden = plot.dataset.gain !== gainRun.value;
  };
  gainRun.addEventListener("change", showGain);
  showGain();
}

const find = byId("find-category");
const applyFind = () => {
  const wanted = find.value.trim().toLocaleLowerCase();
  for (const row of byId("category-table").tBodies[0].rows) {
    row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
  }
};
find.addEventListener("input", applyFind);
applyFind();

const items = [...document.querySelectorAll(".item")];
const filter = byId("filter-category");
if (filter) {
  const applyFilter = () => {
    for (const item of items) item.hidden = filter.value !== "" && !item.dataset.labels.split(" ").includes(filter.value);
    byId("filter-count").textContent = `${items.filter((item) => !item.hidden).length} of ${items.length} images`;
  };
  filter.addEventListener("change", applyFilter);
  byId("filter-reset").addEventListener("click", () => {
    filter.value = "";
    applyFilter();
  });
  applyFilter();
}

const lightbox = byId("lightbox");
const visiblePictures = () => items.filter((item) => !item.hidden).flatMap((item) => [...item.querySelectorAll(".zoom img")]);
let shown = null;
const show = (picture) => {
  shown = picture;
  byId("lightbox-image").src = picture.src;
  byId("lightbox-image").alt = picture.alt;
  byId("lightbox-caption").textContent = picture.alt;
};
const move = (step) => {
  const pictures = visiblePictures();
  show(pictures[(pictures.indexOf(shown) + step + pictures.length) % pictures.length]);
};
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    show(button.querySelector("img"));
    lightbox.showModal(); // Esc closes a modal dialog, and the focus goes back
  });
}
lightbox.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") move(1);
  else if (event.key === "ArrowLeft") move(-1);
  else return;
  event.preventDefault();
});
lightbox.addEventListener("close", () => shown.parentElement.focus());
byId("lightbox-previous").addEventListener("click", () => move(-1));
byId("lightbox-next").addEventListener("click", () => move(1));
byId("lightbox-close").addEventListener("click", () => lightbox.close());
byId("lightbox-image").addEventListener("click", () => lightbox.close());
