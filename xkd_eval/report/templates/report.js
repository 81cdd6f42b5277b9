"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // A section is open when a link leads to it, and all are on paper.
  const reveal = () => {
    const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));

  const list = byId("cards");
  if (!list) return;
  const cards = [...list.children];
  const [sort, model, error, maps, label] = ["sort", "model", "error", "maps", "label"].map(byId);

  // The photo is in the file once a card; its panels show the same picture under their maps.
  for (const card of cards) {
    const source = card.querySelector("img.photo").src;
    for (const photo of card.querySelectorAll(".layers .photo")) photo.src = source;
  }

  // Of the chosen model, or the mean of all; where it is undefined, as between maps without a rank, NaN.
  const of = (values) =>
    model.value === "" ? values.reduce((sum, value) => sum + value, 0) / values.length : values[Number(model.value)];
  const numbers = (text) => text.split(" ").map(Number);
  const agreement = (card) =>
    model.value === "" ? 1 - Number(card.dataset.disagreement) : of(numbers(card.dataset.agreements));
  const score = (place) => (card) => of(numbers(card.dataset.scores.split(";")[place]));
  const last = (value) => (Number.isNaN(value) ? Infinity : value);
  const by = (value) => (a, b) => last(value(a)) - last(value(b)) || 0; // two infinities differ by NaN
  const text = (key) => (a, b) => a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true });
  const most = by(agreement);
  const orders = {
    most,
    least: by((card) => -agreement(card)),
    error: (a, b) => text("error")(a, b) || most(a, b),
    label: (a, b) => text("label")(a, b) || most(a, b),
    id: text("id"),
  };
  const order = () => orders[sort.value] || by(score(Number(sort.value.slice("score-".length))));
  const isFit = (card) =>
    (error.value === "" || card.dataset.error === error.value) &&
    (label.value === "" || card.dataset.label === label.value) &&
    (maps.value === "" || (maps.value === "far" ? agreement(card) < 0.3 : agreement(card) > 0.7));

  const update = () => {
    cards.sort(order());
    list.append(...cards);
    for (const card of cards) card.hidden = !isFit(card);
    byId("shown").textContent = `${shown().length} of ${cards.length} images`;
  };
  const shown = () => cards.filter((card) => !card.hidden);
  for (const control of [sort, model, error, maps, label]) control.addEventListener("change", update);
  for (const control of document.querySelectorAll(".strength"))
    control.addEventListener("input", () => {
      document.body.style.setProperty("--strength", String(control.valueAsNumber / 100));
      for (const other of document.querySelectorAll(".strength")) other.value = control.value;
    });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());

  // One image, enlarged: a copy of its card, and the next one in the order of the gallery.
  const large = byId("large");
  let current = null;
  const enlarge = (card) => {
    if (!card) return;
    current = card;
    byId("enlarged").replaceChildren(...[...card.children].map((child) => child.cloneNode(true)));
    if (!large.open) large.showModal();
  };
  const turn = (step) => {
    const those = shown().includes(current) ? shown() : cards;
    enlarge(those[(those.indexOf(current) + step + those.length) % those.length]);
  };
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  large.addEventListener("keydown", (event) => {
    if (event.target.type === "range") return;
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
  large.addEventListener("click", (event) => event.target === large && large.close());
  list.addEventListener("click", (event) => enlarge(event.target.closest(".card")));
  list.addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault(); // or the button that has the focus then is pressed by the same key
      enlarge(card);
    }
    if (step) shown()[shown().indexOf(card) + step]?.focus();
  });
  for (const strip of document.querySelectorAll(".strip"))
    strip.addEventListener("click", () => enlarge(cards.find((card) => card.dataset.id === strip.dataset.of)));
  update();
})();
