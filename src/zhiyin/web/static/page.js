/* What every part of the page uses: its state, its texts, its elements, its questions to the server. */

export const state = { tellingUntil: 0, language: "en", text: {}, user: null, visitor: false, picks: new Map(), shelves: null, history: null,
  categories: [], category: "" };
export const $ = (id) => document.getElementById(id);

// Storage may be forbidden; the page then simply forgets its choices.
export const remembered = {
  get(key) { try { return localStorage.getItem(`zhiyin.${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`zhiyin.${key}`, value); } catch { return; } },
};

export function element(tag, attributes = {}, ...children) {
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
  more: "M12 5v14M5 12h14",
  less: "M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  like: "M7 11v9H3v-9h4Zm3 9h7.5a2 2 0 0 0 2-1.6l1.3-6A2 2 0 0 0 18.9 10H14l.8-4.2A2 2 0 0 0 12.9 3.500L9 10.500V18a2 2 0 0 0 1 2Z",
  dislike: "M17 13V4h4v9h-4Zm-3-9H6.500a2 2 0 0 0-2 1.600l-1.3 6A2 2 0 0 0 5.1 14H10l-.8 4.200a2 2 0 0 0 1.9 2.300L15 13.500V6a2 2 0 0 0-1-2Z",
  "not-interested": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM5.7 5.700l12.6 12.6",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.500Z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.400M17.6 17.6 19 19M5 19l1.4-1.400M17.6 6.4 19 5",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export function t(key, values = {}) {
  let pattern = state.text[key];
  if (typeof pattern === "object") {
    pattern = pattern[new Intl.PluralRules(state.language).select(values.n)] ?? pattern.other;
  }
  return pattern.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const number = (value) => new Intl.NumberFormat(state.language, { maximumFractionDigits: 2 }).format(value);
export const percent = (value) => new Intl.NumberFormat(state.language, { style: "percent" }).format(value);
export const personName = () => (state.visitor ? t("you") : state.user);

/* The key of a shop that asks for one; it is forgotten with the tab. */
const KEPT = "zhiyin.key";

function askForKey() {
  if ($("key").open) return;
  $("key").showModal();
  $("key-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    sessionStorage.setItem(KEPT, $("key-input").value.trim());
    location.reload();
  });
}

export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEPT);
  const headers = key === null ? options.headers : { ...options.headers, "X-API-Key": key };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error(t("offline"));
  }
  if (response.status === 401) askForKey();
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.error ?? response.statusText), { status: response.status });
  return answer;
}

export const send = (path, body, method = "POST") => ask(path, {
  method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

export function announce(message) {
  $("live").classList.remove("shown", "failed");
  $("live").textContent = message;
}

export function say(message, failed = false) {
  announce(message);
  $("live").classList.toggle("failed", failed);
  $("live").classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => $("live").classList.remove("shown"), failed ? 8000 : 3500);
}

export const complain = (error) => say(t("failed", { error: error.message }), true);

export function hash(value) {
  let sum = 2166136261;
  for (const letter of value) sum = Math.imul(sum ^ letter.codePointAt(0), 16777619) >>> 0;
  return sum;
}

export const remark = (tag, key) => element(tag, { class: "muted empty" }, t(key));
