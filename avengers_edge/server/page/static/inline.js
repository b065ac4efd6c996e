/** Markdown inside a paragraph: emphasis, code, links, mathematics. Anything else, HTML too, is text. */

import { emphasize, piece, trees } from "./emphasis.js";
import { math } from "./math.js";
import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {import("./emphasis.js").Piece} Piece */

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const SPACE = /\s/;
const WORD = /[\p{L}\p{N}]/u;
const PLAIN = /[^\\`*_~[\]!<$h\n]+/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy;
const BARE = /https?:\/\/[^\s<>]{1,2000}/iy;
const TARGET =
  /\(\s{0,9}(<[^<>\n]{0,2000}>|[^\s()<]{0,2000}(?:\([^\s()]{0,200}\)[^\s()]{0,200}){0,9})(?:\s{1,9}(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'))?\s{0,9}\)/y;

/**
 * Render what stands in one paragraph, heading or cell.
 *
 * @param {string} text
 * @returns {Tree[]}
 */
export function inline(text) {
  return new Line(text).read();
}

/**
 * Give an address that may be linked to, or null: only the web and mail, never a script or a file.
 *
 * @param {string} address
 * @returns {string | null}
 */
export function safe(address) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** One line being read, as a linked list of pieces: joining two of them costs the same wherever they stand. */
class Line {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    /** @type {Piece} */
    this.head = piece(null);
    this.tail = this.head;
    /** @type {Piece[]} */
    this.brackets = [];
    /** @type {Set<string>} ends that were looked for in vain, so that each is looked for once */
    this.missing = new Set();
  }

  /** @returns {Tree[]} */
  read() {
    while (this.at < this.text.length) {
      const letter = this.text[this.at];
      const done =
        (letter === "\\" && this.escape()) ||
        (letter === "`" && this.code()) ||
        (letter === "$" && this.dollars()) ||
        (letter === "<" && this.autolink()) ||
        (letter === "h" && this.address()) ||
        ("*_~".includes(letter) && this.delimiters(letter)) ||
        (letter === "[" && this.open()) ||
        (letter === "]" && this.close()) ||
        (letter === "\n" && this.wrap()) ||
        this.plain();
      if (!done) throw new Error("a letter was passed over");
    }
    emphasize(this.head);
    return trees(this.head.after, null);
  }

  /** @param {Tree} tree */
  add(tree) {
    this.push(piece(tree));
    return true;
  }

  /** @param {Piece} added */
  push(added) {
    added.before = this.tail;
    this.tail.after = added;
    this.tail = added;
  }

  plain() {
    PLAIN.lastIndex = this.at;
    const found = PLAIN.exec(this.text);
    const said = found ? found[0] : this.text[this.at];
    this.at += said.length;
    return this.add(said);
  }

  /** A letter after a backslash is itself, unless both begin mathematics or end a line. */
  escape() {
    const next = this.text[this.at + 1] ?? "";
    if (next === "(" && this.formula("\\(", "\\)", false)) return true;
    if (next === "[" && this.formula("\\[", "\\]", true)) return true;
    if (next !== "\n" && !PUNCTUATION.test(next)) return false;
    this.at += 2;
    return this.add(next === "\n" ? node("br") : next);
  }

  /** The pandoc rule: a price is no formula. */
  dollars() {
    if (this.text[this.at + 1] === "$") return this.formula("$$", "$$", true);
    if (SPACE.test(this.text[this.at + 1] ?? " ")) return false;
    const end = this.text.indexOf("$", this.at + 1);
    if (end < 0 || SPACE.test(this.text[end - 1]) || /\d/.test(this.text[end + 1] ?? "")) return false;
    return this.formula("$", "$", false);
  }

  /**
   * @param {string} begin
   * @param {string} end
   * @param {boolean} display
   */
  formula(begin, end, display) {
    const from = this.at + begin.length;
    const to = this.find(end, from);
    if (to < 0 || !this.text.slice(from, to).trim()) return false;
    this.add(math(this.text.slice(from, to), display));
    this.at = to + end.length;
    return true;
  }

  /**
   * @param {string} end
   * @param {number} from
   */
  find(end, from) {
    if (this.missing.has(end)) return -1;
    const found = this.text.indexOf(end, from);
    if (found < 0) this.missing.add(end);
    return found;
  }

  code() {
    const ticks = run(this.text, this.at, "`");
    const from = this.at + ticks.length;
    this.at = from;
    for (let to = this.missing.has(ticks) ? -1 : this.text.indexOf(ticks, from); to >= 0; ) {
      const closing = run(this.text, to, "`");
      if (closing === ticks) {
        const said = this.text.slice(from, to).replaceAll("\n", " ");
        const padded = said.startsWith(" ") && said.endsWith(" ") && said.trim();
        this.at = to + ticks.length;
        return this.add(node("code", {}, padded ? said.slice(1, -1) : said));
      }
      to = this.text.indexOf(ticks, to + closing.length);
    }
    this.missing.add(ticks);
    return this.add(ticks);
  }

  autolink() {
    AUTOLINK.lastIndex = this.at;
    const found = AUTOLINK.exec(this.text);
    const href = found && safe(found[1]);
    if (!found || !href) return false;
    this.at += found[0].length;
    return this.add(link(href, [found[1].replace(/^mailto:/i, "")]));
  }

  /** An address that just stands there; a full stop or a bracket after it is not part of it. */
  address() {
    if (this.at > 0 && WORD.test(this.text[this.at - 1])) return false;
    BARE.lastIndex = this.at;
    const found = BARE.exec(this.text)?.[0] ?? "";
    let unpaired = found.split(")").length - found.split("(").length;
    let length = found.length;
    for (; length > 0; length -= 1) {
      if (found[length - 1] === ")" && unpaired > 0) unpaired -= 1;
      else if (!".,:;!?\"'*_~`]".includes(found[length - 1])) break;
    }
    const said = found.slice(0, length);
    const href = safe(said);
    if (!href) return false;
    this.at += said.length;
    return this.add(link(href, [said]));
  }

  /** @param {string} mark */
  delimiters(mark) {
    const marks = run(this.text, this.at, mark);
    const before = this.text[this.at - 1] ?? " ";
    const after = this.text[this.at + marks.length] ?? " ";
    this.at += marks.length;
    const product = mark === "*" && /\d/.test(before) && /\d/.test(after);
    if (product || (mark === "~" && marks.length !== 2)) return this.add(marks);
    const [gapBefore, gapAfter] = [SPACE.test(before), SPACE.test(after)];
    const [endBefore, endAfter] = [!WORD.test(before), !WORD.test(after)];
    const opens = !gapAfter && (WORD.test(after) || !PUNCTUATION.test(after) || endBefore);
    const closes = !gapBefore && (mark !== "_" || WORD.test(before) || endAfter); // models write **this:**so
    const strict = mark === "_"; // in_a_name it is a letter
    this.push({
      ...piece(null),
      mark,
      count: marks.length,
      opens: opens && (!strict || !closes || endBefore),
      closes: closes && (!strict || !opens || endAfter),
    });
    return true;
  }

  open() {
    this.at += 1;
    this.push({ ...piece("["), mark: "[" });
    this.brackets.push(this.tail);
    return true;
  }

  /** A bracket closes: with an address after it the two are a link. Images are links too: nothing is loaded. */
  close() {
    const opening = this.brackets.pop();
    this.at += 1;
    if (!opening) return this.add("]");
    TARGET.lastIndex = this.at;
    const found = TARGET.exec(this.text);
    const href = found && safe(found[1].replace(/^<|>$/g, ""));
    if (!found || !href) return this.add("]");
    emphasize(opening);
    const inside = trees(opening.after, null);
    this.tail = /** @type {Piece} */ (opening.before);
    if (this.tail.tree === "!") this.tail = /** @type {Piece} */ (this.tail.before);
    this.tail.after = null;
    this.brackets = []; // no link inside a link
    this.at += found[0].length;
    return this.add(link(href, inside.length ? inside : [href]));
  }

  /** Models end lines where they want them to end. */
  wrap() {
    this.at += 1;
    if (typeof this.tail.tree === "string") this.tail.tree = this.tail.tree.trimEnd();
    return this.add(node("br"));
  }
}

/**
 * @param {string} text
 * @param {number} from
 * @param {string} letter
 */
function run(text, from, letter) {
  let to = from;
  while (text[to] === letter) to += 1;
  return text.slice(from, to);
}

/**
 * @param {string} href
 * @param {Tree[]} children
 */
function link(href, children) {
  return node("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}
