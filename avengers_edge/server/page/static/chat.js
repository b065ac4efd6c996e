/** The conversation: asks, stops, asks again, edits, begins anew; one answer at a time. */

import { redrawn, requestOf, turnOf } from "./asking.js";
import { find } from "./dom.js";
import { wordsOf } from "./problems.js";
import { following, toEnd } from "./scroll.js";
import { load, save, saveTurns } from "./store.js";
import { TurnView } from "./turn.js";

/** @typedef {import("./asking.js").Turn} Turn */
/** @typedef {import("./problems.js").Cure} Cure */

/**
 * What the conversation needs from the page around it.
 *
 * @typedef {object} Around
 * @property {import("./server.js").Server} server
 * @property {() => import("./asking.js").Settings} settings
 * @property {(text: string) => void} announce tells a screen reader
 * @property {() => void} changed is called when an answer begins or ends, or a turn comes or goes
 * @property {(cure: Cure) => void} cure
 * @property {(question: string) => void} edit offers the last question for editing
 * @property {(code: string) => void} failed hears of a problem's code
 */

export class Chat {
  /** @param {Around} around */
  constructor(around) {
    this.around = around;
    this.list = find("#turns");
    /** @type {Turn[]} */
    this.turns = [];
    /** @type {TurnView[]} */
    this.views = [];
    /** @type {AbortController | null} */
    this.running = null;
  }

  get busy() {
    return this.running !== null;
  }

  /** @returns {TurnView | undefined} */
  get lastView() {
    return this.views.at(-1);
  }

  /** Show what the tab kept. */
  restore() {
    this.appendKept("turns");
    if (this.turns.length) toEnd();
  }

  /**
   * Ask a question after all that was said.
   *
   * @param {string} question
   */
  async ask(question) {
    if (this.busy) return;
    const view = this.append(turnOf(question));
    view.element.scrollIntoView({ block: "start" });
    await this.answer(view);
  }

  /** Ask the last question again; where nothing comes of that, its answer is kept. */
  async again() {
    const before = this.turns.at(-1);
    if (this.busy || !before) return;
    this.drop();
    const view = this.append(turnOf(before.question));
    await this.answer(view, before);
  }

  /**
   * Ask another question in the last one's place.
   *
   * @param {string} question
   */
  async replace(question) {
    if (this.busy) return;
    this.drop();
    await this.ask(question);
  }

  stop() {
    this.running?.abort();
  }

  /** Begin anew; what was said can be brought back until something else is. */
  renew() {
    this.stop();
    this.running = null; // what is left of an answer under way is nobody's
    if (this.turns.length) save("before", this.turns);
    while (this.turns.length) this.drop();
    save("turns", null);
    this.around.changed();
  }

  /** Bring back what was said before the chat was begun anew. */
  bringBack() {
    this.appendKept("before");
    save("before", null);
    saveTurns(this.turns);
    this.around.changed();
  }

  /**
   * Show turns that the tab kept; an answer that was cut off was stopped.
   *
   * @param {string} name they are kept under
   */
  appendKept(name) {
    for (const turn of load(name, /** @type {Turn[]} */ ([]))) {
      this.append(turn.state === "asking" ? { ...turn, state: "stopped" } : turn);
    }
  }

  /**
   * @param {Turn} turn
   */
  append(turn) {
    const view = new TurnView(turn, this.turns.length + 1, {
      again: () => this.again(),
      edit: () => this.around.edit(turn.question),
      cure: (cure) => (cure === "again" ? this.again() : this.around.cure(cure)),
    });
    this.turns.push(turn);
    this.views.push(view);
    this.list.append(view.element);
    this.mark();
    return view;
  }

  drop() {
    this.turns.pop();
    this.views.pop()?.element.remove();
    this.mark();
  }

  mark() {
    for (const view of this.views) view.last = view === this.lastView;
  }

  /**
   * @param {TurnView} view of the last turn
   * @param {Turn | null} before what was answered in its place
   */
  async answer(view, before = null) {
    const { turn } = view;
    const calling = (this.running = new AbortController());
    const settings = this.around.settings();
    const body = requestOf(this.turns.slice(0, -1), turn.question, before ? redrawn(before, settings) : settings);
    turn.prefer = settings.prefer;
    saveTurns(this.turns);
    save("before", null);
    view.begin();
    this.around.changed();
    try {
      for await (const told of this.around.server.chat(body, calling.signal)) {
        if ("progress" in told) view.progress(told.progress);
        else if ("loading" in told) view.does(`Loading ${told.loading}`);
        else if ("text" in told) this.grow(view, told.text);
        else if ("usage" in told) turn.tokens = told.usage.completion_tokens;
        else {
          turn.info = told.info;
          turn.finish = told.finish;
          turn.text = told.info.corrected ?? turn.text;
        }
      }
      turn.state = "done";
    } catch (error) {
      turn.state = calling.signal.aborted ? "stopped" : "failed";
      if (turn.state === "failed") {
        turn.problem = wordsOf(error);
        this.around.failed(/** @type {{code?: string}} */ (error).code ?? "");
      }
    }
    if (this.running === calling) this.running = null;
    if (before?.text && !turn.text) {
      const { text, info, finish, tokens, prefer } = before;
      Object.assign(turn, { text, info, finish, tokens, prefer, kept: true });
    }
    following(view.element, () => view.settle());
    if (!this.turns.includes(turn)) return; // the chat was begun anew meanwhile
    this.mark();
    saveTurns(this.turns);
    this.around.announce(view.announcement);
    this.around.changed();
  }

  /**
   * @param {TurnView} view
   * @param {string} text
   */
  grow(view, text) {
    view.turn.text += text;
    view.grow();
  }
}
