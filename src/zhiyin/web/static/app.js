const LANGUAGES = ["en", "zh"];
const PICKS_SHOWN = 24;
const SEARCH_DELAY_MS = 150;
const CATEGORIES_SHOWN = 40;
const SHELF_LENGTH = 16;

const state = { language: "en", text: {}, user: null, visitor: false, picks: new Map(), shelves: null, history: null,
  categories: [], category: "" };
const $ = (id) => document.getElementById(id);

// Storage may be forbidden; the page then simply forgets its choices.
const remembered = {
  get(key) { try { return localStorage.getItem(`zhiyin.${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`zhiyin.${key}`, value); } catch { return; } },
};

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const SHAPES = {
  like: "M7 11v9H3v-9h4Zm3 9h7.5a2 2 0 0 0 2-1.6l1.3-6A2 2 0 0 0 18.9 10H14l.8-4.2A2 2 0 0 0 12.9 3.500L9 10.500V18a2 2 0 0 0 1 2Z",
  dislike: "M17 13V4h4v9h-4Zm-3-9H6.500a2 2 0 0 0-2 1.600l-1.3 6A2 2 0 0 0 5.1 14H10l-.8 4.200a2 2 0 0 0 1.9 2.300L15 13.500V6a2 2 0 0 0-1-2Z",
  "not-interested": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM5.7 5.700l12.6 12.6",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.500Z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.400M17.6 17.6 19 19M5 19l1.4-1.400M17.6 6.4 19 5",
};

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

function t(key, values = {}) {
  let pattern = state.text[key];
  if (typeof pattern === "object") {
    pattern = pattern[new Intl.PluralRules(state.language).select(values.n)] ?? pattern.other;
  }
  return pattern.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

const number = (value) => new Intl.NumberFormat(state.language, { maximumFractionDigits: 2 }).format(value);
const percent = (value) => new Intl.NumberFormat(state.language, { style: "percent" }).format(value);
const personName = () => (state.visitor ? t("you") : state.user);

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(t("offline"));
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

function announce(message) {
  $("live").classList.remove("shown", "failed");
  $("live").textContent = message;
}

function say(message, failed = false) {
  announce(message);
  $("live").classList.toggle("failed", failed);
  $("live").classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => $("live").classList.remove("shown"), failed ? 8000 : 3500);
}

const complain = (error) => say(t("failed", { error: error.message }), true);

function hash(value) {
  let sum = 2166136261;
  for (const letter of value) sum = Math.imul(sum ^ letter.codePointAt(0), 16777619) >>> 0;
  return sum;
}

/* A cover made of the title: two hues and an angle that are always the same for the same item. */
function cover(item, heading = null) {
  const seed = hash(item.item_id + item.title);
  const letters = [...item.title.replace(/^(the|a|an) /i, "").trim()];
  const tile = element("div", { class: `cover pattern-${seed % 4}` },
    element("span", { class: "cover-letter", "aria-hidden": "true" }, letters[0] ?? "·"), heading);
  tile.style.setProperty("--hue", String(seed % 360));
  tile.style.setProperty("--turn", String(40 + (seed >>> 9) % 80));
  tile.style.setProperty("--angle", `${(seed >>> 16) % 360}deg`);
  return tile;
}

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

const ACTIONS = [["like", "like"], ["dislike", "dislike"], ["not-interested", "notInterested"]];

function card(line, shelf) {
  const { item } = line;
  const titleId = `t-${shelf.recommendations.recommendation_id}-${line.rank}`;
  const buttons = ACTIONS.map(([event, key]) =>
    element("button", {
      type: "button", class: `act act-${event}`, "data-event": event,
      "aria-label": t(`${key}Item`, { title: item.title }), title: t(key),
      onclick: (click) => feedback(click.currentTarget, event, key, line, shelf),
    }, icon(event)));
  return element("li", { class: "card", "data-item": item.item_id, "aria-labelledby": titleId },
    cover(item, element("h3", { id: titleId, title: item.title }, item.title)),
    element("div", { class: "card-body" },
      item.categories.length ? element("p", { class: "tags" }, item.categories.slice(0, 3).join(" · ")) : null,
      reasonLine(line.reason, shelf),
      element("div", { class: "acts" }, ...buttons)));
}

function shelfHeading(shelf) {
  if (shelf.kind === "because") return [because(shelf.reason, "shelfBecause"), t("shelfBecauseNote")];
  if (shelf.kind === "category") return [t("shelfCategory", { category: shelf.category }), t("shelfCategoryNote")];
  if (shelf.kind === "for-you") return [t("shelfForYou"), t("shelfForYouNote")];
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
        ...shelf.recommendations.items.map((line) => card(line, shelf))));
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
      ask(`/api/shelves/${user}?n=${SHELF_LENGTH}${narrowed}`), ask(`/api/users/${user}/history?limit=30`)]);
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
  const place = [...button.closest(".cards").children].indexOf(button.closest(".card"));
  const kind = button.closest(".shelf").dataset.kind;
  button.closest(".card").classList.add("leaving");
  try {
    await send([{
      user_id: state.user, item_id: line.item.item_id, event,
      recommendation_id: shelf.recommendations.recommendation_id, position: line.rank,
    }]);
    await loadRoom();
    say(t("saved", { action: t(key), title: line.item.title }));
    // The card is gone; whoever uses the keyboard goes on at its place.
    const cards = document.querySelectorAll(`.shelf[data-kind="${kind}"] .card`);
    const next = cards[Math.min(place, cards.length - 1)]?.querySelector(`[data-event="${event}"]`);
    (next ?? $("main")).focus({ preventScroll: true });
  } catch (error) {
    button.closest(".card")?.classList.remove("leaving");
    complain(error);
  }
}

const send = (events) => ask("/api/events", {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(events),
});

async function enter(user, visitor = false) {
  Object.assign(state, { user, visitor, shelves: null, history: null, category: "" });
  $("shelves").replaceChildren(...Array.from({ length: 2 }, () => element("div", { class: "shelf waiting" },
    element("div", { class: "bone bone-head" }),
    element("div", { class: "bones" }, ...Array.from({ length: 6 }, () => element("div", { class: "bone" }))))));
  $("history").replaceChildren();
  $("welcome").hidden = true;
  $("room").hidden = false;
  drawPerson();
  scrollTo(0, 0);
  $("main").focus({ preventScroll: true });
  try {
    await loadRoom();
    announce(t("loaded", { name: personName() }));
  } catch (error) {
    $("shelves").replaceChildren(element("div", { class: "panel trouble" },
      element("p", {}, t("failed", { error: error.message })),
      element("button", { type: "button", class: "button", onclick: () => enter(user, visitor) }, t("retry"))));
  }
}

function leave() {
  Object.assign(state, { user: null, visitor: false, shelves: null, history: null });
  state.picks.clear();
  $("welcome").hidden = false;
  $("room").hidden = true;
  drawPerson();
  $("user-search").value = "";
  $("item-search").value = "";
  loadUsers().catch(complain);
  loadPicks().catch(complain);
  $("user-search").focus();
}

// Null until the first answer: nobody may be said to be missing while people are on their way.
let users = null;
let choices = null;

const remark = (tag, key) => element(tag, { class: "muted empty" }, t(key));

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
  const answer = await ask(`/api/users?limit=50&prefix=${encodeURIComponent(prefix)}`);
  if (prefix !== $("user-search").value.trim()) return;
  users = answer.users;
  drawUsers();
}

async function loadPicks() {
  const search = $("item-search").value.trim();
  const answer = await ask(`/api/items?limit=${PICKS_SHOWN}&search=${encodeURIComponent(search)}`);
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
    await send([...state.picks.keys()].map((item) => ({ user_id: user, item_id: item, event: "like" })));
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
  $("language").lang = language === "zh" ? "en" : "zh-Hans";
  announce("");
  drawTheme();
  drawPerson();
  drawShelves();
  drawHistory();
  if (state.user === null) {
    drawUsers();
    drawPicks();
  }
}

async function open() {
  const wanted = remembered.get("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  await speak(LANGUAGES.includes(wanted) ? wanted : "en");
  $("language").addEventListener("click", () => {
    const next = state.language === "en" ? "zh" : "en";
    remembered.set("language", next);
    speak(next).catch(complain);
  });
  $("theme").addEventListener("click", () => {
    remembered.set("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    drawTheme();
  });
  dark.addEventListener("change", drawTheme);
  $("home").addEventListener("click", leave);
  $("switch-person").addEventListener("click", leave);
  $("start").addEventListener("click", start);
  $("user-search").addEventListener("input", later(loadUsers));
  $("item-search").addEventListener("input", later(loadPicks));
  const [answer] = await Promise.all([ask("/api/categories"), loadUsers(), loadPicks()]);
  state.categories = answer.categories.slice(0, CATEGORIES_SHOWN).map(({ name }) => name);
  drawShelves();
}

open().catch(complain);
