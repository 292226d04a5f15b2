/* Items by words, with examples of what is meant and what is not. */

import { card, goOn, placeOf } from "./cards.js";
import { $, announce, ask, element, icon, remark, send, state, t } from "./page.js";
import { note, place } from "./place.js";

const FOUND = 16;
const LONG_MS = 3000;
const EXAMPLES = [["like", "more", "moreLikeThis"], ["unlike", "less", "notThis"]];
const NO_EXAMPLES = { like: [], unlike: [], category: [] };

// Null before the first answer to these words.
let found = null;
let opened = false;
let trouble = null;
let turn = 0;
const names = new Map();

const isPersonal = () => state.user !== null && (state.shelves ?? []).some((shelf) => shelf.kind !== "popular");

function reason(asked) {
  const key = asked.like.length || asked.unlike.length ? "reasonWordsExamples" : "reasonWords";
  return t(isPersonal() ? `${key}Taste` : key);
}

function exampleButton(item, [name, shape, key]) {
  return element("button", {
    type: "button", class: `act act-${name}`, "data-example": name, "aria-label": t(`${key}Item`, { title: item.title }),
    onclick: (click) => addExample(click.currentTarget, name, item),
  }, icon(shape), element("span", {}, t(key)));
}

function chip(id, [name, shape, key]) {
  const title = names.get(id) ?? id;
  return element("li", {}, element("button", {
    type: "button", class: `chip chip-${name}`, "data-example": name, "aria-label": t("removeExample", { example: t(`${key}Item`, { title }) }),
    onclick: () => removeExample(name, id),
  }, icon(shape), element("span", { class: "chip-name" }, title), icon("close")));
}

function categoryFilter(asked) {
  const choices = [...new Set(["", ...(asked.category ? [asked.category] : []), ...state.categories])];
  const select = element("select", { id: "found-category", "aria-label": t("foundFilterLabel"), onchange: narrow },
    ...choices.map((name) => element("option", { value: name }, name || t("filterAll"))));
  select.value = asked.category;
  return select;
}

function shelf(asked) {
  return element("section", { class: "shelf shelf-words", "aria-labelledby": "found-title", "data-kind": "words" },
    element("div", { class: "shelf-head" },
      element("h2", { id: "found-title" }, t("foundTitle", { words: asked.words })),
      element("p", { class: "muted" }, t(isPersonal() ? "foundNoteTaste" : "foundNote")),
      state.categories.length ? categoryFilter(asked) : null),
    found.length ? null : remark("p", "foundNothing"),
    element("ul", { class: "cards", tabindex: "0", "aria-labelledby": "found-title" },
      ...found.map(({ item }, row) => card(item, `found-${row}`, element("p", { class: "reason" }, reason(asked)),
        EXAMPLES.map((example) => exampleButton(item, example))))));
}

function refusal(error) {
  const told = error.status === 503 ? "foundUnable" : "failed";
  return element("div", { class: "panel trouble", role: "alert" }, element("p", {}, t(told, { error: error.message })),
    element("button", { type: "button", class: "button", onclick: () => loadFound() }, t("retry")));
}

/* Whoever stands on an example goes on at its place. */
function drawExamples(asked) {
  const row = [...$("examples").querySelectorAll(".chip")].indexOf(document.activeElement);
  const chips = EXAMPLES.flatMap((example) => asked[example[0]].map((id) => chip(id, example)));
  $("examples").replaceChildren(...chips);
  if (row >= 0) (chips[Math.min(row, chips.length - 1)]?.firstChild ?? $("words-input")).focus();
}

export function drawFound() {
  const asked = place();
  document.body.classList.toggle("searching", Boolean(asked.words));
  $("words-clear").hidden = !asked.words;
  $("found").hidden = !asked.words;
  drawExamples(asked);
  if (!asked.words) return;
  if (trouble) $("found").replaceChildren(refusal(trouble));
  else if (found) $("found").replaceChildren(shelf(asked));
  else $("found").replaceChildren(element("div", { class: "bones" }, ...Array.from({ length: 6 }, () => element("div", { class: "bone" }))));
}

/* Of examples that came with the address only the ids are known. */
async function nameExamples(asked) {
  await Promise.all([...asked.like, ...asked.unlike].filter((id) => !names.has(id)).map(async (id) => {
    const item = await ask(`/api/v1/items/${encodeURIComponent(id)}`).catch(() => null);
    if (item) names.set(id, item.title);
  }));
}

/* Looks for what the address says. Whether what is shown is the answer: a newer question leaves an older one behind. */
export async function loadFound() {
  const asked = place();
  const mine = ++turn;
  trouble = null;
  if (!asked.words) found = null;
  // While a list is refined, it stays as it was and keeps the focus.
  if (found) drawExamples(asked);
  else drawFound();
  $("found").setAttribute("aria-busy", String(Boolean(asked.words)));
  $("found-wait").textContent = asked.words ? t("looking") : "";
  if (!asked.words) return true;
  const long = setTimeout(() => { if (mine === turn) $("found-wait").textContent = t("lookingLong"); }, LONG_MS);
  let answer = null;
  let error = null;
  try {
    [answer] = await Promise.all([
      send("/api/v1/find", { text: asked.words, like: asked.like, unlike: asked.unlike, n: FOUND, user_id: state.user,
        categories: asked.category ? [asked.category] : [] }),
      nameExamples(asked)]);
  } catch (problem) {
    error = problem;
  } finally {
    clearTimeout(long);
  }
  if (mine !== turn) return false;
  found = answer?.items ?? null;
  trouble = error;
  $("found").setAttribute("aria-busy", "false");
  $("found-wait").textContent = "";
  drawFound();
  if (found) announce(t("foundCount", { n: found.length }));
  return true;
}

/* Another person, or other words: what was found before is no answer. What was typed while the page came up stays. */
export function startOver() {
  found = null;
  if (opened || place().words) $("words-input").value = place().words;
  opened = true;
}

async function addExample(button, name, item) {
  const row = placeOf(button);
  const asked = place();
  names.set(item.item_id, item.title);
  button.closest(".card").classList.add("leaving");
  note({ [name]: [...asked[name], item.item_id] });
  if (await loadFound() && !goOn($("found"), row, `[data-example="${name}"]`)) $("words-input").focus();
}

async function removeExample(name, id) {
  note({ [name]: place()[name].filter((other) => other !== id) });
  await loadFound();
}

async function narrow(change) {
  note({ category: change.currentTarget.value });
  if (await loadFound()) $("found-category")?.focus();
}

async function search() {
  const words = $("words-input").value.trim();
  if (!words) return clear();
  if (words !== place().words) found = null;
  note({ q: words });
  await loadFound();
}

async function clear() {
  $("words-input").value = "";
  note({ q: [], ...NO_EXAMPLES });
  $("words-input").focus();
  await loadFound();
}

/* Who presses Enter while the page comes up is heard once its language is `spoken`. */
export function openWords(spoken) {
  $("words-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    spoken.then(search, () => {});
  });
  $("words-clear").addEventListener("click", clear);
}
