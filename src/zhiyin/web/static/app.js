import { card, cover, goOn, placeOf } from "./cards.js";
import { $, announce, ask, complain, element, hash, icon, number, percent, personName, remark, remembered, say, send, state,
  t } from "./page.js";
import { forget, note, place } from "./place.js";
import { drawTaste, forgetTaste, loadTaste, openTaste } from "./taste.js";
import { drawFound, loadFound, openWords, startOver } from "./words.js";

const LANGUAGES = ["en", "zh"];
const PICKS_SHOWN = 24;
const SEARCH_DELAY_MS = 150;
const CATEGORIES_SHOWN = 40;
const SHELF_LENGTH = 16;

function because(reason, prefix) {
  const values = { title: reason.title, value: reason.value === null ? "" : number(reason.value) };
  if (reason.value !== null) return t(`${prefix}Rated`, values);
  if (reason.event === "like") return t(`${prefix}Liked`, values);
  if (prefix === "reason" && ["dislike", "not-interested"].includes(reason.event)) return t("reasonDisliked", values);
  return t(`${prefix}Other`, values);
}

function reasonLine(reason, shelf) {
  // On a shelf that is headed by its reason, only the share is news.
  if (reason.kind === "history") {
    const share = t("reasonShare", { share: percent(reason.share) });
    const main = because(reason, "reason");
    return element("p", { class: "reason", title: `${main} · ${share}` }, shelf.kind === "because" ? share : main);
  }
  if (reason.kind === "popular" && shelf.kind !== "popular") {
    return element("p", { class: "reason" }, t("reasonPopular"));
  }
  return null;
}

const TELLING_MS = 5000;
const ACTIONS = [["like", "like"], ["dislike", "dislike"], ["not-interested", "notInterested"]];

function shelfCard(line, shelf) {
  const { item } = line;
  const buttons = ACTIONS.map(([event, key]) =>
    element("button", {
      type: "button", class: `act act-${event}`, "data-event": event,
      "aria-label": t(`${key}Item`, { title: item.title }), title: t(key),
      onclick: (click) => click.detail < 2 && feedback(click.currentTarget, event, key, line, shelf),
    }, icon(event)));
  return card(item, `t-${shelf.recommendations.recommendation_id}-${line.rank}`, reasonLine(line.reason, shelf), buttons);
}

/* What the first shelf comes from, by the rung that its list names. */
const FROM = {
  personal: "shelfForYouNote", session: "shelfForYouSession", words: "shelfForYouWords", profile: "shelfForYouProfile",
};

function shelfHeading(shelf) {
  if (shelf.kind === "because") return [because(shelf.reason, "shelfBecause"), t("shelfBecauseNote")];
  if (shelf.kind === "category") return [t("shelfCategory", { category: shelf.category }), t("shelfCategoryNote")];
  if (shelf.kind === "for-you") return [t("shelfForYou"), t(FROM[shelf.recommendations.rung])];
  return [t("shelfPopular"), t("shelfPopularNote")];
}

/* The first shelf can be narrowed to one category. */
function categoryFilter() {
  const names = [...new Set(["", ...(state.category ? [state.category] : []), ...state.categories])];
  const select = element("select", { id: "category", "aria-label": t("filterLabel"), onchange: chooseCategory },
    ...names.map((name) => element("option", { value: name }, name || t("filterAll"))));
  select.value = state.category;
  return select;
}

async function chooseCategory(change) {
  state.category = change.currentTarget.value;
  try {
    await loadRoom();
    $("category").focus();
  } catch (error) {
    complain(error);
  }
}

function drawShelves() {
  if (!state.shelves) return;
  $("shelves").replaceChildren(...state.shelves.map((shelf, place) => {
    const [heading, note] = shelfHeading(shelf);
    return element("section", { class: `shelf shelf-${shelf.kind}`, "aria-labelledby": `shelf-${place}`, "data-kind": shelf.kind },
      element("div", { class: "shelf-head" },
        element("h2", { id: `shelf-${place}` }, heading), element("p", { class: "muted" }, note),
        place === 0 && state.categories.length ? categoryFilter() : null),
      shelf.recommendations.items.length ? null : remark("p", "nothingHere"),
      element("ul", { class: "cards", tabindex: "0", "aria-labelledby": `shelf-${place}` },
        ...shelf.recommendations.items.map((line) => shelfCard(line, shelf))));
  }));
}

function ago(timestamp) {
  if (timestamp === null) return "";
  const seconds = (timestamp - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat(state.language, { numeric: "auto" });
  for (const [unit, length] of [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= length) return format.format(Math.round(seconds / length), unit);
  }
  return format.format(0, "minute");
}

function drawHistory() {
  if (!state.history) return;
  if (!state.history.length) {
    $("history").replaceChildren(element("li", { class: "muted" }, t("historyEmpty")));
    return;
  }
  $("history").replaceChildren(...state.history.map((entry) => {
    const name = state.text.eventNames[entry.event] ?? entry.event;
    const told = entry.event === "rating" && entry.value !== null ? `${name} ${number(entry.value)}` : name;
    return element("li", { class: "entry", "data-event": entry.event },
      element("span", { class: "dot", "aria-hidden": "true" }),
      element("span", { class: "entry-title", title: entry.title }, entry.title),
      element("span", { class: "entry-told" }, told),
      element("span", { class: "entry-when" }, ago(entry.timestamp)));
  }));
}

function drawPerson() {
  $("person").hidden = state.user === null;
  if (state.user === null) return;
  $("person-name").textContent = personName();
  $("avatar").textContent = [...personName()][0].toUpperCase();
  $("avatar").style.setProperty("--hue", String(hash(state.user) % 360));
}

let asked = 0;

async function loadRoom() {
  const turn = ++asked;
  const user = encodeURIComponent(state.user);
  $("shelves").setAttribute("aria-busy", "true");
  try {
    const narrowed = state.category ? `&category=${encodeURIComponent(state.category)}` : "";
    const [shelves, history] = await Promise.all([
      ask(`/api/v1/shelves/${user}?n=${SHELF_LENGTH}${narrowed}`), ask(`/api/v1/users/${user}/history?limit=30`)]);
    // An answer to an older question must not overwrite a newer one.
    if (turn !== asked) return;
    state.shelves = shelves.shelves;
    // Being shown something is nothing that a person did.
    state.history = history.events.filter((entry) => entry.event !== "impression");
    drawShelves();
    drawHistory();
  } finally {
    if (turn === asked) $("shelves").setAttribute("aria-busy", "false");
  }
}

async function feedback(button, event, key, line, shelf) {
  // A second click is meant for the same card, though another one may stand there by then.
  if (performance.now() < state.tellingUntil) return;
  state.tellingUntil = performance.now() + TELLING_MS;
  const row = placeOf(button);
  const kind = button.closest(".shelf").dataset.kind;
  button.closest(".card").classList.add("leaving");
  try {
    await send("/api/v1/events", [{
      user_id: state.user, item_id: line.item.item_id, event,
      recommendation_id: shelf.recommendations.recommendation_id, position: line.rank,
    }]);
    await loadRoom();
    say(t("saved", { action: t(key), title: line.item.title }));
    // The card is gone.
    if (!goOn($("shelves").querySelector(`.shelf[data-kind="${kind}"]`), row, `[data-event="${event}"]`)) {
      $("main").focus({ preventScroll: true });
    }
    await loadFound();
  } catch (error) {
    button.closest(".card")?.classList.remove("leaving");
    complain(error);
  } finally {
    state.tellingUntil = 0;
  }
}

/* Shows what the address says. */
async function show() {
  const { user, visitor } = place();
  const isOther = user !== state.user;
  Object.assign(state, { user, visitor });
  $("main").dataset.place = user === null ? "welcome" : "room";
  $("welcome").hidden = user !== null;
  $("room").hidden = user === null;
  drawPerson();
  startOver();
  if (isOther) {
    Object.assign(state, { shelves: null, history: null, category: "" });
    forgetTaste();
    asked += 1;
    scrollTo(0, 0);
  }
  await Promise.all([loadFound(), user === null ? loadWelcome() : isOther ? loadPerson() : null]);
}

async function loadPerson() {
  const { user } = state;
  $("shelves").replaceChildren(...Array.from({ length: 2 }, () => element("div", { class: "shelf waiting" },
    element("div", { class: "bone bone-head" }),
    element("div", { class: "bones" }, ...Array.from({ length: 6 }, () => element("div", { class: "bone" }))))));
  $("history").replaceChildren();
  loadTaste();
  try {
    await loadRoom();
    if (user !== state.user) return;
    // Whether the person's taste counts in what is found is known only now.
    drawFound();
    announce(t("loaded", { name: personName() }));
  } catch (error) {
    if (user !== state.user) return;
    $("shelves").replaceChildren(element("div", { class: "panel trouble" },
      element("p", {}, t("failed", { error: error.message })),
      element("button", { type: "button", class: "button", onclick: loadPerson }, t("retry"))));
  }
}

async function loadWelcome() {
  await Promise.all([loadUsers(), loadPicks()]).catch(complain);
}

async function enter(user, visitor = false) {
  note(visitor ? { visitor: user, user: [] } : { user, visitor: [] });
  $("main").focus({ preventScroll: true });
  await show();
}

async function leave() {
  forget();
  state.picks.clear();
  $("user-search").value = "";
  $("item-search").value = "";
  await show();
}

async function switchPerson() {
  const left = leave();
  $("user-search").focus();
  await left;
}

// Null until the first answer: nobody may be said to be missing while people are on their way.
let users = null;
let choices = null;

function drawUsers() {
  if (!users) {
    $("users").replaceChildren(remark("li", "loading"));
    return;
  }
  $("users").replaceChildren(...users.map(({ user_id: user, events }) => {
    const mark = element("span", { class: "avatar", "aria-hidden": "true" }, [...user][0].toUpperCase());
    mark.style.setProperty("--hue", String(hash(user) % 360));
    return element("li", {}, element("button", { type: "button", class: "someone", "data-user": user, onclick: () => enter(user) },
      mark, element("span", { class: "someone-name" }, user),
      element("span", { class: "muted" }, t("events", { n: events }))));
  }));
  if (!users.length) $("users").replaceChildren(remark("li", "noUsers"));
}

function drawPicks() {
  if (!choices) {
    $("picks").replaceChildren(remark("p", "loading"));
    return;
  }
  const chosen = [...state.picks.values()];
  const rest = choices.filter((item) => !state.picks.has(item.item_id));
  const shown = [...chosen, ...rest].slice(0, Math.max(PICKS_SHOWN, chosen.length));
  $("picks").replaceChildren(...shown.map((item) =>
    element("button", {
      type: "button", class: "pick", "data-item": item.item_id, "aria-pressed": String(state.picks.has(item.item_id)),
      onclick: () => togglePick(item),
    }, cover(item), element("span", { class: "pick-title" }, item.title))));
  if (!choices.length) $("picks").append(remark("p", "noItems"));
  $("picked").textContent = chosen.length ? t("picked", { n: chosen.length }) : "";
  $("start").disabled = !chosen.length;
}

function togglePick(item) {
  if (!state.picks.delete(item.item_id)) state.picks.set(item.item_id, item);
  drawPicks();
  [...$("picks").querySelectorAll(".pick")].find((pick) => pick.dataset.item === item.item_id)?.focus();
}

async function loadUsers() {
  const prefix = $("user-search").value.trim();
  const answer = await ask(`/api/v1/users?limit=50&prefix=${encodeURIComponent(prefix)}`);
  if (prefix !== $("user-search").value.trim()) return;
  users = answer.users;
  drawUsers();
}

async function loadPicks() {
  const search = $("item-search").value.trim();
  const answer = await ask(`/api/v1/items?limit=${PICKS_SHOWN}&search=${encodeURIComponent(search)}`);
  if (search !== $("item-search").value.trim()) return;
  choices = answer.items;
  drawPicks();
}

function later(load) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch(complain), SEARCH_DELAY_MS);
  };
}

async function start() {
  // crypto.randomUUID exists only on secure origins; the page may be opened from another machine of the house.
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const user = `visitor-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  $("start").disabled = true;
  try {
    await send("/api/v1/events", [...state.picks.keys()].map((item) => ({ user_id: user, item_id: item, event: "like" })));
    state.picks.clear();
    await enter(user, true);
  } catch (error) {
    $("start").disabled = false;
    complain(error);
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function drawTheme() {
  const chosen = remembered.get("theme");
  const isDark = chosen === null ? dark.matches : chosen === "dark";
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", String(isDark));
  $("theme").setAttribute("aria-label", t("themeToDark"));
  $("theme").title = t("themeToDark");
  $("theme").replaceChildren(icon(isDark ? "sun" : "moon"));
}

async function speak(language) {
  state.text = await ask(`/locales/${language}.json`);
  state.language = language;
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = t(node.dataset.placeholder);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
  $("language").lang = language === "zh" ? "en" : "zh-Hans";
  announce("");
  drawTheme();
  drawPerson();
  drawShelves();
  drawHistory();
  drawFound();
  drawTaste();
  if (state.user === null) {
    drawUsers();
    drawPicks();
  }
}

async function changeLanguage() {
  const next = state.language === "en" ? "zh" : "en";
  remembered.set("language", next);
  await speak(next);
  if (state.user !== null) await loadTaste();
}

async function open() {
  const wanted = remembered.get("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  let spoken = speak(LANGUAGES.includes(wanted) ? wanted : "en");
  openWords(spoken);
  // Pressed while the page comes up, or twice at once, it is heard when the language before it is spoken.
  $("language").addEventListener("click", () => {
    spoken = spoken.catch(() => {}).then(changeLanguage);
    spoken.catch(complain);
  });
  await spoken;
  $("theme").addEventListener("click", () => {
    remembered.set("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    drawTheme();
  });
  dark.addEventListener("change", drawTheme);
  $("home").addEventListener("click", leave);
  $("switch-person").addEventListener("click", switchPerson);
  $("start").addEventListener("click", start);
  $("user-search").addEventListener("input", later(loadUsers));
  $("item-search").addEventListener("input", later(loadPicks));
  openTaste(loadRoom);
  addEventListener("popstate", () => show().catch(complain));
  const [answer] = await Promise.all([ask("/api/v1/categories"), show()]);
  state.categories = answer.categories.slice(0, CATEGORIES_SHOWN).map(({ name }) => name);
  drawShelves();
  drawFound();
}

open().catch(complain);
