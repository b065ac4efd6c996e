/** Puts the page together. */

import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { find, show } from "./dom.js";
import { inline } from "./markdown.js";
import { wordsOf } from "./problems.js";
import { Server } from "./server.js";
import { SettingsPanel } from "./settings.js";
import { page } from "./scroll.js";
import { load, save } from "./store.js";
import { startTheme } from "./theme.js";
import { Watch } from "./watch.js";

let key = load("key", "");
const server = new Server(() => key);
const settings = new SettingsPanel(() => {});
const keyDialog = /** @type {HTMLDialogElement} */ (find("#key-dialog"));
const keyboard = /** @type {HTMLDialogElement} */ (find("#keyboard"));
const [notice, welcome, back] = [find("#notice"), find("#welcome"), find("#back")];

const chat = new Chat({
  server,
  settings: () => settings.values,
  announce: (text) => (find("#announcer").textContent = text),
  changed: refresh,
  cure,
  edit: (question) => composer.offer(question, true),
  failed: (code) => {
    if (code === "invalid_api_key") askKey();
    if (code === "unreachable" || code === "broken") watch.look();
  },
});
const composer = new Composer({
  ask: (question) => chat.ask(question),
  replace: (question) => chat.replace(question),
  stop: () => chat.stop(),
});
const watch = new Watch(server, tellHealth);

/** Show what depends on whether there is a conversation and an answer under way. */
function refresh() {
  composer.answering = chat.busy;
  welcome.hidden = chat.turns.length > 0;
  back.hidden = load("before", null) === null;
}

function renew() {
  chat.renew();
  composer.cancel();
}

/** @param {import("./problems.js").Cure} kind */
function cure(kind) {
  if (kind === "key") askKey();
  if (kind === "new") renew();
  if (kind === "models") listModels();
}

function askKey() {
  find("#key-title").textContent = key ? "That key is not the right one" : "This server asks for a key";
  if (!keyDialog.open) keyDialog.showModal();
}

/** Read which models there are. */
async function listModels() {
  try {
    settings.offer(await server.models());
  } catch (error) {
    const { message, advice, cure } = wordsOf(error);
    if (cure === "key") askKey();
    else if (watch.status === "ok") say(`The models cannot be listed. ${message} ${advice}`);
  }
}

/** @param {string} text shown above the conversation; "" for nothing */
function say(text) {
  show(notice, inline(text), []);
  notice.hidden = !text;
}

/**
 * @param {import("./watch.js").Health} health
 * @param {import("./watch.js").Health["status"] | null} before
 */
function tellHealth({ status, reason }, before) {
  const words = {
    ok: "",
    loading: "The models are loading. You can ask already: the answer comes when they are there.",
    gone: "The server cannot be reached. Is `avengers serve` still running? This page looks for it every 2 seconds.",
    degraded: `Not everything is ready: ${reason || "the server does not say why"}. Other models may answer.`,
  };
  say(words[status]);
  if (status !== "gone" && (before === null || before === "gone" || status === "ok")) listModels();
}

/** What the keyboard does besides writing; letters go with Alt, so that none is taken from whoever writes. */
const KEYS = {
  KeyN: renew,
  KeyR: () => chat.again(),
  KeyE: () => editLast(),
  KeyC: () => chat.lastView?.parts.copy.click(),
  KeyY: () => chat.lastView?.turn.info && chat.lastView.toggle(),
  KeyO: () => settings.dialog.showModal(),
  KeyK: () => keyboard.showModal(),
};

/** @type {Record<string, () => void>} what keys do in the empty field */
const EMPTY = { ArrowUp: () => editLast(), PageUp: () => page(-1), PageDown: () => page(1) };

function editLast() {
  const last = chat.turns.at(-1);
  if (last && !chat.busy) composer.offer(last.question, true);
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const act = /** @type {Record<string, () => unknown>} */ (KEYS)[event.code];
  if (event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey && act) {
    event.preventDefault();
    act();
  } else if (event.key === "Escape" && chat.busy) chat.stop();
  else if (event.key === "Escape" && composer.editing) composer.cancel();
  else if (event.target === composer.field && !composer.field.value && EMPTY[event.key]) {
    event.preventDefault();
    EMPTY[event.key]();
  }
});

find("#new-chat").addEventListener("click", renew);
find("#open-keyboard").addEventListener("click", () => keyboard.showModal());
back.addEventListener("click", () => {
  chat.bringBack();
  composer.field.focus();
});
for (const button of welcome.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => composer.offer(button.textContent?.trim() ?? "", false));
}
find("#key-form").addEventListener("submit", () => {
  const field = /** @type {HTMLInputElement} */ (find("#key"));
  key = field.value.trim();
  save("key", key || null);
  field.value = "";
  listModels();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
}

startTheme();
chat.restore();
refresh();
composer.field.focus({ preventScroll: true });
watch.look();
