/* What the page shows, as its address tells it: reload, back and forward keep it. */

const LISTS = ["like", "unlike"];

/* user, visitor: whose shelves. words, like, unlike, category: what is looked for; examples are ids of items. */
export function place() {
  const query = new URLSearchParams(location.search);
  const one = (name) => query.get(name) ?? "";
  return { user: query.get("visitor") ?? query.get("user"), visitor: query.has("visitor"), words: one("q").trim(),
    category: one("category"), ...Object.fromEntries(LISTS.map((name) => [name, [...new Set(query.getAll(name))]])) };
}

/* Goes on with `changes` of the address; a name with nothing is taken out of it. */
export function note(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const part of [value].flat()) if (part) query.append(name, part);
  }
  if (`?${query}` === (location.search || "?")) return;
  history.pushState(null, "", `${location.pathname}${String(query) && `?${query}`}`);
}

export function forget() {
  if (location.search) history.pushState(null, "", location.pathname);
}
