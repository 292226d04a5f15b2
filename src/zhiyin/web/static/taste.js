/* What the person likes, in words that they may edit. */

import { $, ask, complain, say, send, state, t } from "./page.js";

let taste = null;
let turn = 0;

const path = () => `/api/v1/users/${encodeURIComponent(state.user)}/taste`;

export function drawTaste() {
  const isThere = taste !== null && taste.text !== null;
  $("taste").hidden = !isThere;
  if (!isThere) return;
  $("taste-text").textContent = taste.text;
  $("taste-source").textContent = t(taste.source === "edited" ? "tasteEdited" : "tasteGenerated");
}

function edit(isEdited) {
  $("taste-form").hidden = !isEdited;
  $("taste-said").hidden = isEdited;
}

export function forgetTaste() {
  turn += 1;
  taste = null;
  edit(false);
  drawTaste();
}

/* A description that does not come is no trouble of the page: it goes without. */
export async function loadTaste() {
  const mine = ++turn;
  const answer = await ask(`${path()}?language=${state.language}`).catch(() => null);
  if (mine !== turn) return;
  taste = answer;
  drawTaste();
}

/* changed: called after the words were kept or forgotten, since lists may go by them. */
export function openTaste(changed) {
  const stop = () => {
    edit(false);
    $("taste-edit").focus();
  };
  $("taste-edit").addEventListener("click", () => {
    $("taste-words").value = taste.text;
    edit(true);
    $("taste-words").focus();
  });
  $("taste-cancel").addEventListener("click", stop);
  $("taste-form").addEventListener("keydown", (key) => { if (key.key === "Escape") stop(); });
  $("taste-form").addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const mine = ++turn;
    try {
      const kept = await send(path(), { text: $("taste-words").value }, "PUT");
      if (mine !== turn) return;
      taste = kept;
      drawTaste();
      stop();
      await changed();
      say(t("tasteSaved"));
    } catch (error) {
      complain(error);
    }
  });
  $("taste-clear").addEventListener("click", async () => {
    const user = state.user;
    try {
      await ask(path(), { method: "DELETE" });
      if (user !== state.user) return;
      await Promise.all([loadTaste(), changed()]);
      say(t("tasteCleared"));
      ($("taste").hidden ? $("main") : $("taste-edit")).focus({ preventScroll: true });
    } catch (error) {
      complain(error);
    }
  });
}
