"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("cards");
  const cards = [...list.children];
  const [sort, model, error, label] = ["sort", "model", "error", "label"].map(byId);

  // The photo is in the file once a card; its panels show the same picture under their maps.
  for (const card of cards) {
    const source = card.querySelector("img.photo").src;
    for (const photo of card.querySelectorAll(".layers .photo")) photo.src = source;
  }

  // Where it is undefined, as between maps without a rank, the card comes last.
  const disagreement = (card) => {
    const found =
      model.value === ""
        ? Number(card.dataset.disagreement)
        : 1 - Number(card.dataset.agreements.split(" ")[Number(model.value)]);
    return Number.isNaN(found) ? -Infinity : found;
  };
  const text = (key) => (a, b) => a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true });
  const most = (a, b) => disagreement(b) - disagreement(a) || 0; // two infinities differ by NaN
  const orders = {
    most,
    least: (a, b) => most(b, a),
    error: (a, b) => text("error")(a, b) || most(a, b),
    label: (a, b) => text("label")(a, b) || most(a, b),
    id: text("id"),
  };

  const update = () => {
    cards.sort(orders[sort.value]);
    list.append(...cards);
    let shown = 0;
    for (const card of cards) {
      card.hidden =
        (error.value !== "" && card.dataset.error !== error.value) ||
        (label.value !== "" && card.dataset.label !== label.value);
      shown += card.hidden ? 0 : 1;
    }
    byId("shown").textContent = `${shown} of ${cards.length} images`;
  };

  for (const control of [sort, model, error, label]) control.addEventListener("change", update);
  byId("strength").addEventListener("input", (event) =>
    list.style.setProperty("--strength", String(event.target.valueAsNumber / 100)),
  );
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  update();
})();
