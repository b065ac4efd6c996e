/** One question and its answer on the page, while it is made and afterwards. */

import { build, copies, find, show, stamp } from "./dom.js";
import { inline, markdown } from "./markdown.js";
import { following } from "./scroll.js";
import { textOf } from "./tree.js";
import { lineOf, sampleLine, whyOf } from "./votes.js";

/** @typedef {import("./asking.js").Turn} Turn */
/** @typedef {import("./problems.js").Cure} Cure */
/** @typedef {{trees: import("./tree.js").Tree[], shown: string[]}} Drawn */

export class TurnView {
  /**
   * @param {Turn} turn
   * @param {number} number
   * @param {{again: () => void, edit: () => void, cure: (cure: Cure) => void}} on what its buttons do
   */
  constructor(turn, number, on) {
    this.turn = turn;
    this.element = stamp("turn");
    this.parts = {
      text: find("[data-text]", this.element),
      wait: find("[data-wait]", this.element),
      doing: find("[data-doing]", this.element),
      clock: find("[data-clock]", this.element),
      leader: find("[data-leader]", this.element),
      problem: find("[data-problem]", this.element),
      note: find("[data-note]", this.element),
      under: find("[data-under]", this.element),
      why: /** @type {HTMLDetailsElement} */ (find("[data-why]", this.element)),
      copy: find("[data-copy]", this.element),
      again: find("[data-again]", this.element),
    };
    /** @type {Drawn} */
    this.drawn = { trees: [], shown: [] };
    this.frame = 0;
    this.late = 0;
    this.ticking = 0;
    find("[data-question]", this.element).textContent = turn.question;
    for (const title of this.element.querySelectorAll("[data-number]")) title.textContent += ` ${number}`;
    find("[data-edit]", this.element).addEventListener("click", on.edit);
    this.parts.again.addEventListener("click", on.again);
    copies(this.parts.copy, () => turn.text);
    this.parts.why.addEventListener("toggle", () => this.explain(), { once: true });
    find("button", this.parts.problem).addEventListener("click", () => turn.problem && on.cure(turn.problem.cure));
    this.settle();
  }

  /** Show that it is being made, with a clock. */
  begin() {
    const began = Date.now();
    const tick = () => (this.parts.clock.textContent = `${Math.round((Date.now() - began) / 1000)} s`);
    tick();
    this.ticking = setInterval(tick, 1000);
  }

  /**
   * Say what is being done until the text is complete.
   *
   * @param {string} what
   */
  does(what) {
    this.parts.doing.textContent = what;
  }

  /** @param {import("./server.js").Progress} progress */
  progress({ finished, samples, asking, count, leader }) {
    if (samples === 1) {
      this.does(`${asking} is at work`);
      return;
    }
    this.does(`${asking} is voting: ${finished} of ${samples} samples`);
    const meter = /** @type {HTMLProgressElement} */ (find("progress", this.parts.wait));
    meter.hidden = false;
    meter.max = samples;
    meter.value = finished;
    this.parts.leader.hidden = !leader;
    find("[data-key]", this.parts.leader).textContent = leader;
    find("[data-count]", this.parts.leader).textContent = count === 1 ? "1 vote" : `${count} votes`;
  }

  /** Show the text as far as it is, at most once a frame; a window that is not painted has none, so a timer stands in. */
  grow() {
    if (this.frame) return;
    this.does("Writing");
    const drawn = () => {
      cancelAnimationFrame(this.frame);
      clearTimeout(this.late);
      this.frame = 0;
      following(this.element, () => this.draw());
    };
    this.frame = requestAnimationFrame(drawn);
    this.late = setTimeout(drawn, 250);
  }

  draw() {
    this.drawn = draw(this.parts.text, this.turn.text, this.drawn.shown);
    if (this.turn.info && typeof this.turn.info.output === "string") fold(this.parts.text);
  }

  /** Show it as it is now: done, stopped, failed, or still under way. */
  settle() {
    const { turn, parts } = this;
    const asking = turn.state === "asking";
    if (!asking) clearInterval(this.ticking);
    this.draw();
    this.element.dataset.state = turn.state;
    parts.wait.hidden = !asking;
    parts.copy.hidden = !turn.text;
    parts.under.hidden = asking;
    parts.why.hidden = !turn.info;
    if (turn.info) find("[data-line]", parts.why).textContent = lineOf(turn.info);
    parts.note.textContent = noteOf(turn);
    parts.note.hidden = !parts.note.textContent;
    parts.problem.hidden = !turn.problem;
    if (turn.problem) {
      show(find("[data-message]", parts.problem), inline(turn.problem.message), []);
      show(find("[data-advice]", parts.problem), inline(turn.problem.advice), []);
      const button = find("button", parts.problem);
      button.hidden = !turn.problem.cure;
      button.textContent = CURES[turn.problem.cure];
    }
  }

  /** Tell whether this is the last turn, which can be asked again or edited. */
  set last(/** @type {boolean} */ last) {
    find("[data-edit]", this.element).hidden = !last;
    this.parts.again.hidden = !last || this.turn.problem?.cure === "again"; // a button above does the same
  }

  /** What a screen reader is told when it is done. */
  get announcement() {
    const { turn } = this;
    if (turn.state !== "done") return noteOf(turn);
    const said = textOf(this.drawn.trees).slice(0, 2000);
    return `${turn.info ? `${turn.info.model} answers` : "Answer"}: ${said}`;
  }

  /** Open or close what says how the answer came about. */
  toggle() {
    this.parts.why.open = !this.parts.why.open;
    if (this.parts.why.open) find("summary", this.parts.why).focus();
  }

  /** Fill what opens, when it is opened for the first time. */
  explain() {
    const { info } = this.turn;
    if (!info) return;
    const panel = find("[data-panel]", this.parts.why);
    panel.append(...whyOf(this.turn, info).map(build));
    if (info.samples && info.samples.length > 1) panel.append(samplesOf(info.samples));
    panel.scrollIntoView({ block: "nearest" });
  }
}

/** @type {Record<Cure, string>} */
const CURES = {
  again: "Try again",
  key: "Enter the key",
  new: "New chat",
  models: "Read the list again",
  "": "",
};

/**
 * Show Markdown, or the text as it is where that fails: one answer that cannot be drawn must not stop the page.
 *
 * @param {HTMLElement} element
 * @param {string} text
 * @param {string[]} shown what it shows now
 * @returns {Drawn}
 */
function draw(element, text, shown) {
  try {
    const trees = markdown(text);
    return { trees, shown: show(element, trees, shown) };
  } catch {
    element.textContent = text;
    return { trees: [text], shown: [] };
  }
}

/**
 * Fold the program under its result.
 *
 * @param {HTMLElement} text
 */
function fold(text) {
  const code = text.lastElementChild;
  if (!code || code === text.firstElementChild || code.localName === "details") return;
  const folded = document.createElement("details");
  const title = document.createElement("summary");
  title.textContent = "The program that printed this";
  code.replaceWith(folded);
  folded.append(title, code);
}

/** @param {Turn} turn */
function noteOf(turn) {
  if (turn.kept) return `${turn.state === "stopped" ? "Stopped" : "That failed"}: the answer from before is kept.`;
  if (turn.state === "stopped") return turn.text ? "Stopped: this is as far as it came." : "Stopped.";
  const cut = turn.state === "done" && turn.finish === "length";
  return cut ? "Cut at the token limit: allow longer answers in the settings." : "";
}

/** @param {NonNullable<import("./server.js").Info["samples"]>} samples */
function samplesOf(samples) {
  const all = stamp("samples");
  const several = new Set(samples.map((sample) => sample.model)).size > 1;
  find("summary", all).textContent = `All ${samples.length} samples`;
  const filled = () => {
    for (const [place, sample] of samples.entries()) {
      const one = stamp("sample");
      find("summary", one).textContent = sampleLine(sample, place, several);
      const body = find("[data-text]", one);
      one.addEventListener("toggle", () => draw(body, sample.text, []), { once: true });
      all.append(one);
    }
  };
  all.addEventListener("toggle", filled, { once: true });
  return all;
}
