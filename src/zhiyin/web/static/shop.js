/* What the pages of a shop embed: events go to Zhiyin, lists come from it.

   <script src="https://HOST/static/shop.js" data-user="USER" data-key="KEY" defer></script>
   <zhiyin-shelf n="6" href="/items/{id}"></zhiyin-shelf>

   The key is one of that user, made for their browser; a server without keys needs none. Without data-user a visitor has
   an id that lasts as long as the page, with data-remember as long as the window. There are no cookies. */
(() => {
  "use strict";

  const PAUSE_MS = 1000, LONGEST_PAUSE_MS = 60000, MANY = 20, MOST = 500, LONGEST_EVENT = 2000, LAST_BATCHES = 10;
  const WORDS = {
    en: { forYou: "Recommended for you", similar: "More like this", because: (title) => `Because of ${title}` },
    zh: { forYou: "为你推荐", similar: "相似的", because: (title) => `因为《${title}》` },
  };

  const script = document.currentScript;
  const base = script.src.slice(0, script.src.indexOf("/static/"));
  const headers = script.dataset.key ? { "X-API-Key": script.dataset.key } : {};

  /* Where the page is not secure, browsers make no UUIDs. */
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  function visitor() {
    const made = `visitor-${fresh()}`;
    if (!("remember" in script.dataset)) return made;
    try {
      const kept = sessionStorage.getItem("zhiyin") ?? made;
      sessionStorage.setItem("zhiyin", kept);
      return kept;
    } catch {
      return made;
    }
  }

  const user = script.dataset.user || visitor(), session = fresh();
  let waiting = [], timer = null, sending = 0, pause = PAUSE_MS;

  function later() {
    timer ??= setTimeout(() => { timer = null; flush(); }, pause);
  }

  /* What of a batch is to be sent again: all that the server could not take now, under the ids that it has, so that it
     counts once; of a batch that was refused, all but the rows that were named. */
  async function left(batch, answer) {
    if (answer.ok) return [];
    if (answer.status === 408 || answer.status === 429 || answer.status >= 500) return batch;
    const told = await answer.json().catch(() => ({}));
    const wrong = new Set((told.problems ?? []).map((problem) => problem.row));
    console.warn("zhiyin: events were refused", told);
    return wrong.size ? batch.filter((_, row) => !wrong.has(row)) : [];
  }

  async function flush() {
    const batch = waiting.splice(0, MANY);
    if (!batch.length) return;
    let again = batch, failed = true;
    sending += 1;
    try {
      const answer = await fetch(`${base}/api/v1/events`, {
        method: "POST", keepalive: true, headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(batch),
      });
      again = await left(batch, answer);
      failed = again.length === batch.length;
    } catch (error) {
      console.warn("zhiyin: events wait", error);
    }
    sending -= 1;
    pause = failed ? Math.min(2 * pause, LONGEST_PAUSE_MS) : PAUSE_MS;
    waiting = [...again, ...waiting].slice(-MOST);
    if (waiting.length) later();
  }

  /* more: value, recommendation_id, position. */
  function track(event, item, more = {}) {
    const told = {
      user_id: user, item_id: String(item), event, timestamp: Date.now(), session_id: session, event_id: fresh(), ...more,
    };
    if (JSON.stringify(told).length > LONGEST_EVENT) {
      console.warn("zhiyin: an event is too long", event);
      return;
    }
    waiting = [...waiting, told].slice(-MOST);
    if (waiting.length >= MANY && !sending && pause === PAUSE_MS) flush();
    else later();
  }

  /* Browsers send what is on its way when a page goes, up to 64 KiB of it. */
  function goodbye() {
    for (let batches = 0; waiting.length && batches < LAST_BATCHES; batches += 1) flush();
  }

  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") goodbye(); });
  addEventListener("pagehide", goodbye);

  const STYLE = `
    :host { display: block; font: inherit; }
    :host([hidden]) { display: none; }
    h2 { font-size: 1.25em; margin: 0 0 .5em; }
    ol { display: grid; gap: .75em; grid-template-columns: repeat(auto-fill, minmax(10em, 1fr)); list-style: none; margin: 0; padding: 0; }
    li { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .5em; padding: .75em; }
    a { color: inherit; display: block; overflow-wrap: anywhere; }
    small { display: block; margin-top: .25em; opacity: .75; }`;

  function element(name, part, text) {
    const made = document.createElement(name);
    if (part) made.part = part;
    if (text) made.textContent = text;
    return made;
  }

  /* n: items. href: where an item is, with {id} in it. like: an item, for what is like it. category: of all items.
     heading, lang: en or zh. */
  class Shelf extends HTMLElement {
    async connectedCallback() {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      const n = this.getAttribute("n") ?? "6", like = this.getAttribute("like"), category = this.getAttribute("category");
      const address = like === null
        ? `recommend/${encodeURIComponent(user)}?${new URLSearchParams({ n, ...(category === null ? {} : { category }) })}`
        : `similar/${encodeURIComponent(like)}?${new URLSearchParams({ n })}`;
      try {
        const answer = await fetch(`${base}/api/v1/${address}`, { headers });
        if (!answer.ok) throw new Error(await answer.text());
        this.show(root, await answer.json());
      } catch (error) {
        // The page is better without it than with an error on it.
        console.warn("zhiyin: no list", error);
        this.hidden = true;
      }
    }

    show(root, told) {
      const words = WORDS[this.closest("[lang]")?.lang.startsWith("zh") ? "zh" : "en"];
      const plain = this.hasAttribute("like") ? words.similar : words.forYou;
      const list = element("ol", "list");
      list.append(...told.items.map((line, place) => this.line(words, told.recommendation_id, line, line.rank ?? place + 1)));
      root.replaceChildren(element("style", null, STYLE), element("h2", "heading", this.getAttribute("heading") ?? plain), list);
      this.hidden = !told.items.length;
    }

    line(words, recommendation_id, { item, reason }, position) {
      const link = element("a", "item", item.title), made = element("li", "card");
      link.href = (this.getAttribute("href") ?? "#{id}").replace("{id}", encodeURIComponent(item.item_id));
      link.addEventListener("click", () => track("click", item.item_id, recommendation_id ? { recommendation_id, position } : {}));
      made.append(link);
      if (reason?.title) made.append(element("small", "reason", words.because(reason.title)));
      return made;
    }
  }

  customElements.define("zhiyin-shelf", Shelf);
  window.zhiyin = { track, flush, user };
})();
