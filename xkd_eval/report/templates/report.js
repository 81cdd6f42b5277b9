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

  // What a card says of its image, read once: a thousand are sorted and filtered at a click.
  const numbers = (text) => (text ? text.split(" ").map(Number) : []);
  const pictures = [...list.children].map((card) => ({
    card,
    ...card.dataset,
    disagreement: Number(card.dataset.disagreement),
    agreements: numbers(card.dataset.agreements),
    scores: (card.dataset.scores || "").split(";").map(numbers),
  }));
  const pictureOf = new Map(pictures.map((picture) => [picture.card, picture]));
  let shown = pictures;

  // The photo is in the file once a card; its panels show the same picture under their maps.
  for (const { card } of pictures) {
    const source = card.querySelector("img.photo").src;
    for (const photo of card.querySelectorAll(".layers .photo")) photo.src = source;
  }

  const controls = byId("controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const control of document.querySelectorAll(".strength"))
    control.addEventListener("input", () => {
      document.body.style.setProperty("--strength", String(control.valueAsNumber / 100));
      for (const other of document.querySelectorAll(".strength")) other.value = control.value;
    });

  const [sort, model, error, maps, label] = ["sort", "model", "error", "maps", "label"].map(byId);
  if (sort) {
    // Of the chosen model, or the mean of all; where it is undefined, as between maps without a rank, NaN.
    const of = (values) =>
      model.value === "" ? values.reduce((sum, value) => sum + value, 0) / values.length : values[Number(model.value)];
    const agreement = (picture) => (model.value === "" ? 1 - picture.disagreement : of(picture.agreements));
    const last = (value) => (Number.isNaN(value) ? Infinity : value);
    const by = (value) => (a, b) => last(value(a)) - last(value(b)) || 0; // two infinities differ by NaN
    const collator = new Intl.Collator("en", { numeric: true });
    const text = (key) => (a, b) => collator.compare(a[key], b[key]);
    const most = by(agreement);
    const orders = {
      most,
      least: by((picture) => -agreement(picture)),
      error: (a, b) => text("error")(a, b) || most(a, b),
      label: (a, b) => text("label")(a, b) || most(a, b),
      id: text("id"),
    };
    const order = () => {
      const place = Number(sort.value.slice("score-".length));
      return orders[sort.value] || by((picture) => of(picture.scores[place]));
    };
    const isFit = (picture) =>
      (error.value === "" || picture.error === error.value) &&
      (label.value === "" || picture.label === label.value) &&
      (maps.value === "" || (maps.value === "far" ? agreement(picture) < 0.3 : agreement(picture) > 0.7));
    // The others leave the page: to hide hundreds that the browser has not laid out takes it seconds.
    const update = () => {
      pictures.sort(order());
      shown = pictures.filter(isFit);
      list.replaceChildren(...shown.map((picture) => picture.card));
      byId("shown").textContent = `${shown.length} of ${pictures.length} images`;
    };
    for (const control of [sort, model, error, maps, label]) control.addEventListener("change", update);
    update();
  }

  // One image, enlarged: a copy of its card, and the next one in the order of the gallery.
  const large = byId("large");
  let current = null;
  const enlarge = (picture) => {
    if (!picture) return;
    current = picture;
    byId("enlarged").replaceChildren(...[...picture.card.children].map((child) => child.cloneNode(true)));
    if (!large.open) large.showModal();
  };
  const turn = (step) => {
    const those = shown.includes(current) ? shown : pictures;
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
  list.addEventListener("click", (event) => enlarge(pictureOf.get(event.target.closest(".card"))));
  list.addEventListener("keydown", (event) => {
    const picture = pictureOf.get(event.target.closest(".card"));
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault(); // or the button that has the focus then is pressed by the same key
      enlarge(picture);
    }
    if (step) shown[shown.indexOf(picture) + step]?.card.focus();
  });
  for (const strip of document.querySelectorAll(".strip"))
    strip.addEventListener("click", () => enlarge(pictures.find((picture) => picture.id === strip.dataset.of)));
})();
