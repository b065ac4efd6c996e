// Laws of a conversation on a page that is only as much of one as they need; run beside them by test_server_page.py.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** An element, and whatever is looked for in it. */
class Part {
  dataset = {};
  childNodes = [];
  content = { cloneNode: () => ({ firstElementChild: new Part() }) };
  addEventListener() {}
  append() {}
  getBoundingClientRect = () => ({ top: 0 });
  querySelector = () => new Part();
  querySelectorAll = () => [];
  remove() {}
  scrollIntoView() {}
}

const kept = new Map();
globalThis.document = Object.assign(new Part(), { documentElement: new Part(), createElement: () => new Part(), createTextNode: () => new Part() });
globalThis.getComputedStyle = () => ({ scrollPaddingTop: "0" });
globalThis.requestAnimationFrame = () => 1;
globalThis.cancelAnimationFrame = () => undefined;
globalThis.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value),
  removeItem: (name) => kept.delete(name),
};

const { Chat } = await import("./chat.js");

/** A server that says one word and then nothing until it is called off. */
const server = {
  async *chat(_body, signal) {
    yield { text: "Once" };
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
  },
};

/** Begin a chat and ask; gives what the page was told of it each time something changed. */
function asking() {
  const busy = [];
  const chat = new Chat({
    server,
    settings: () => ({ model: "big", samples: null, prefer: 1, system: "", tokens: null, first: false }),
    announce() {},
    changed: () => busy.push(chat.busy),
    cure() {},
    edit() {},
    failed() {},
  });
  return { chat, busy, answered: chat.ask("Tell me a tale") };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

beforeEach(() => kept.clear());

test("a chat that is begun anew during an answer can be asked at once", async () => {
  const { chat, busy, answered } = asking();
  await soon();
  assert.equal(busy.at(-1), true);
  chat.renew();
  assert.equal(busy.at(-1), false);
  const next = chat.ask("Another");
  await answered;
  assert.deepEqual([chat.turns.map((turn) => turn.question), chat.busy], [["Another"], true]);
  chat.stop();
  await next;
  assert.equal(busy.at(-1), false);
});

test("an answer that was cut off is a stopped one when it is brought back", async () => {
  const { chat, answered } = asking();
  await soon();
  chat.renew();
  await answered;
  chat.bringBack();
  assert.deepEqual(chat.turns.map(({ text, state }) => [text, state]), [["Once", "stopped"]]);
});

test("an answer that cannot be drawn is shown as it was written, and the page goes on", async (t) => {
  t.mock.method(document, "createTextNode", () => {
    throw new RangeError("too deep");
  });
  const { chat, busy, answered } = asking();
  await soon();
  chat.stop();
  await answered;
  assert.equal(busy.at(-1), false);
  assert.equal(chat.lastView.parts.text.textContent, "Once");
});
