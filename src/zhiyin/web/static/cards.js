/* An item as a card. */

import { element, hash, icon, t } from "./page.js";

const TOLD_CHARACTERS = 200;

/* A cover made of the title: two hues and an angle that are always the same for the same item. */
export function cover(item, heading = null) {
  const seed = hash(item.item_id + item.title);
  const letters = [...item.title.replace(/^(the|a|an) /i, "").trim()];
  const tile = element("div", { class: `cover pattern-${seed % 4}` },
    element("span", { class: "cover-letter", "aria-hidden": "true" }, letters[0] ?? "·"), heading);
  tile.style.setProperty("--hue", String(seed % 360));
  tile.style.setProperty("--turn", String(40 + (seed >>> 9) % 80));
  tile.style.setProperty("--angle", `${(seed >>> 16) % 360}deg`);
  return tile;
}

/* What is said of the item, marked where a language model wrote it. */
function told(item) {
  if (!item.description) return null;
  const letters = [...item.description];
  const shown = letters.length > TOLD_CHARACTERS ? `${letters.slice(0, TOLD_CHARACTERS).join("")}…` : item.description;
  return element("div", { class: "told" },
    item.generated ? element("button", { type: "button", class: "mark", "data-tip": t("generatedTip"), "aria-label": t("generatedTip") },
      t("generatedMark")) : null,
    element("p", { title: item.description }, shown));
}

/* reason: a line, or null. acts: buttons. */
export function card(item, titleId, reason, acts) {
  return element("li", { class: "card", "data-item": item.item_id, "aria-labelledby": titleId },
    cover(item, element("h3", { id: titleId, title: item.title }, item.title)),
    element("div", { class: "card-body" },
      item.categories.length ? element("p", { class: "tags" }, item.categories.slice(0, 3).join(" · ")) : null,
      told(item),
      reason,
      element("div", { class: "acts" }, ...acts)));
}

/* The card at `place` after its list has changed: whoever uses the keyboard goes on there. */
export function goOn(shelf, place, button) {
  const cards = shelf?.querySelectorAll(".card") ?? [];
  const next = cards[Math.min(place, cards.length - 1)]?.querySelector(button);
  next?.focus({ preventScroll: true });
  return Boolean(next);
}

export const placeOf = (button) => [...button.closest(".cards").children].indexOf(button.closest(".card"));
