/**
 * The LaTeX that models write, as MathML: fractions, powers, roots, the usual symbols, aligned lines. What is not known
 * here is shown as it was written.
 */

import { node } from "./tree.js";
import { SYMBOLS, WORDS } from "./symbols.js";

/** @typedef {import("./tree.js").Tree} Tree */

const TOKEN = /\\[a-zA-Z]+\*?|\\[\s\S]|\d+(?:[.,]\d+)*|\s+|[\s\S]/gu;
const DEEPEST = 60; // groups and arguments in each other; a fraction in a fraction is both
const WIDE = new Set(["+", "-", "=", "<", ">", "*", "/", ":", ",", ";", "!", "|", "(", ")", "[", "]"]);

/**
 * Render a formula.
 *
 * @param {string} source
 * @param {boolean} display on a line of its own
 * @returns {Tree}
 */
export function math(source, display) {
  const text = source.trim();
  try {
    const inside = new Formula(text).read();
    return node("math", { display: display ? "block" : "inline" }, inside);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return node("code", { class: display ? "formula display" : "formula" }, text);
  }
}

class Unreadable extends Error {}

/** Reads one formula from left to right. */
class Formula {
  /** @param {string} text */
  constructor(text) {
    this.tokens = text.match(TOKEN) ?? [];
    this.at = 0;
    this.depth = 0;
  }

  read() {
    const row = this.row(() => false);
    if (this.at < this.tokens.length) throw new Unreadable();
    return row;
  }

  get next() {
    return this.tokens[this.at] ?? "";
  }

  /**
   * Read up to a token that ends it, which is left there.
   *
   * @param {(token: string) => boolean} ends
   * @returns {Tree}
   */
  row(ends) {
    this.depth += 1;
    if (this.depth > DEEPEST) throw new Unreadable();
    /** @type {Tree[]} */
    const children = [];
    while (this.at < this.tokens.length && !ends(this.next)) {
      if (this.next === "}" || this.next === "&" || this.next === "\\\\") throw new Unreadable();
      const atom = this.atom();
      if (atom) children.push(this.scripts(atom));
    }
    this.depth -= 1;
    return node("mrow", {}, ...children);
  }

  /**
   * Read what follows as one thing: a group in braces, or a single atom.
   *
   * @returns {Tree}
   */
  argument() {
    while (/^\s/.test(this.next)) this.at += 1;
    this.depth += 1;
    if (!this.next || this.depth > DEEPEST) throw new Unreadable();
    const atom = this.atom();
    this.depth -= 1;
    return atom ?? node("mrow");
  }

  /** @param {Tree} base */
  scripts(base) {
    let above = /** @type {Tree | null} */ (null);
    let below = /** @type {Tree | null} */ (null);
    while (this.next === "^" || this.next === "_" || this.next === "'") {
      const mark = this.next;
      this.at += 1;
      if (mark === "'") above = node("mo", {}, "′");
      else if (mark === "^") above = this.argument();
      else below = this.argument();
    }
    if (above && below) return node("msubsup", {}, base, below, above);
    if (above) return node("msup", {}, base, above);
    return below ? node("msub", {}, base, below) : base;
  }

  /** @returns {Tree | null} nothing for space */
  atom() {
    const token = this.next;
    this.at += 1;
    if (token === "{") {
      const row = this.row((each) => each === "}");
      this.expect("}");
      return row;
    }
    if (token.startsWith("\\")) return this.command(token.slice(1));
    if (/^\s/.test(token)) return null;
    if (/^\d/.test(token)) return node("mn", {}, token);
    if (token === "-") return node("mo", {}, "−");
    return node(WIDE.has(token) ? "mo" : "mi", {}, token);
  }

  /** @param {string} token */
  expect(token) {
    if (this.next !== token) throw new Unreadable();
    this.at += 1;
  }

  /** The raw letters of a group. */
  letters() {
    this.expect("{");
    const from = this.at;
    while (this.next && this.next !== "}") this.at += 1;
    this.expect("}");
    return this.tokens.slice(from, this.at - 1).join("");
  }

  /**
   * @param {string} name
   * @returns {Tree | null}
   */
  command(name) {
    if (Object.hasOwn(SYMBOLS, name)) return node(/^\p{L}$/u.test(SYMBOLS[name]) ? "mi" : "mo", {}, SYMBOLS[name]);
    if (WORDS.has(name)) return node("mi", {}, name);
    switch (name) {
      case "frac":
      case "dfrac":
      case "tfrac":
      case "cfrac":
        return node("mfrac", {}, this.argument(), this.argument());
      case "binom":
        return node("mrow", {}, "(", node("mfrac", { linethickness: "0" }, this.argument(), this.argument()), ")");
      case "sqrt":
        return this.root();
      case "text":
      case "textbf":
      case "textit":
      case "textrm":
      case "mbox":
      case "mathrm":
      case "operatorname":
        return node("mtext", {}, this.letters().replace(/\\([%$#&_])/g, "$1").replace(/^ | $/g, "\u00a0"));
      case "mathbf":
      case "mathbb":
      case "mathcal":
      case "mathit":
      case "bm":
      case "boldsymbol":
        return this.argument();
      case "boxed":
        return node("mrow", { class: "boxed" }, this.argument());
      case "overline":
      case "bar":
        return node("mover", {}, this.argument(), node("mo", {}, "‾"));
      case "hat":
        return node("mover", {}, this.argument(), node("mo", {}, "^"));
      case "vec":
        return node("mover", {}, this.argument(), node("mo", {}, "→"));
      case "left":
      case "right":
      case "big":
      case "Big":
      case "bigl":
      case "bigr":
        return this.next === "." ? this.skip() : null;
      case "begin":
        return this.table(this.letters());
      case "displaystyle":
      case "limits":
      case "!":
        return null;
      case ",":
      case ";":
      case ":":
      case " ":
      case "quad":
      case "qquad":
        return node("mspace", { width: name.endsWith("quad") ? "1em" : "0.2em" });
      case "{":
      case "}":
      case "%":
      case "$":
      case "#":
      case "_":
      case "&":
        return node("mo", {}, name);
      default:
        throw new Unreadable();
    }
  }

  skip() {
    this.at += 1;
    return null;
  }

  root() {
    if (this.next !== "[") return node("msqrt", {}, this.argument());
    this.at += 1;
    const index = this.row((token) => token === "]");
    this.expect("]");
    return node("mroot", {}, this.argument(), index);
  }

  /**
   * Read lines and columns up to the environment's end.
   *
   * @param {string} name
   * @returns {Tree}
   */
  table(name) {
    const kind = name.replace("*", "");
    if (!Object.hasOwn(FENCES, kind)) throw new Unreadable();
    const fences = FENCES[kind];
    if (name.startsWith("array")) this.letters();
    /** @type {Tree[][]} */
    const rows = [[]];
    for (;;) {
      rows[rows.length - 1].push(node("mtd", {}, this.row((token) => ["&", "\\\\", "\\end"].includes(token))));
      const token = this.next;
      this.at += 1;
      if (token === "\\\\") rows.push([]);
      else if (token !== "&") break;
    }
    if (this.tokens[this.at - 1] !== "\\end" || this.letters() !== name) throw new Unreadable();
    const body = node("mtable", { class: kind }, ...rows.map((row) => node("mtr", {}, ...row)));
    return node("mrow", {}, node("mo", {}, fences[0]), body, node("mo", {}, fences[1]));
  }
}

/** @type {Record<string, [string, string]>} */
const FENCES = {
  aligned: ["", ""],
  align: ["", ""],
  gathered: ["", ""],
  array: ["", ""],
  matrix: ["", ""],
  pmatrix: ["(", ")"],
  bmatrix: ["[", "]"],
  vmatrix: ["|", "|"],
  cases: ["{", ""],
};
