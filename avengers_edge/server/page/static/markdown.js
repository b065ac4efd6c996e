/**
 * Markdown as models write it, parsed by markdown-it: its tokens become trees, never a text of HTML. CommonMark and
 * tables, but lines end where they end, addresses are links, formulas are MathML, and HTML is text.
 */

import MarkdownIt from "./vendor/markdown-it.esm.min.mjs";

import { math } from "./math.js";
import { node, safe } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {import("./tree.js").Element} Element */

const DEEPEST = 60; // elements in each other: what is nested deeper stands in the innermost of them
const FILLED = 9; // empty cells at the end of a row: a few letters must not become thousands of cells
const LONGEST = 60; // lines of a formula
const FENCE = /^(`{3,}|~{3,})/;
const NUMBERED = /^( {0,3})(\d{1,9}[.)])( {1,4})(?=\S)/;
const TASK = /^\[([ xX])\] +/;

/** The inline parser's state, with a model's habits around stars. */
class Line extends MarkdownIt.StateInline {
  /** Delimiters that are known to be missing in the rest of the line, so that each is looked for once. */
  missing = new Set();

  /**
   * @param {number} start
   * @param {boolean} canSplitWord
   */
  scanDelims(start, canSplitWord) {
    const found = super.scanDelims(start, canSplitWord);
    if (this.src[start] !== "*") return found;
    const [before, after] = [this.src[start - 1] ?? " ", this.src[start + found.length] ?? " "];
    const product = /\d/.test(before) && /\d/.test(after); // 3*4*5
    const label = /[.,:;!?)\]]/.test(before) && /[\p{L}\p{N}]/u.test(after); // **this:**so
    return { ...found, can_open: found.can_open && !product, can_close: (found.can_close || label) && !product };
  }

  /**
   * Find a delimiter from a place on, or give -1.
   *
   * @param {string} end
   * @param {number} from
   */
  find(end, from) {
    if (this.missing.has(end)) return -1;
    const found = this.src.indexOf(end, from);
    if (found < 0) this.missing.add(end);
    return found;
  }
}

const parser = new MarkdownIt({ html: false, linkify: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
parser.validateLink = (/** @type {string} */ address) => safe(address) !== null;
parser.normalizeLinkText = (/** @type {string} */ address) => address.replace(/^mailto:/i, "");
parser.inline.State = Line;
parser.disable(["lheading", "reference"]); // a line of dashes is a rule; no text is swallowed
parser.core.ruler.after("normalize", "indent", (/** @type {any} */ state) => {
  state.src = indented(state.src.split("\n")).join("\n");
});
parser.inline.ruler.before("escape", "formula", formula);
parser.block.ruler.before("blockquote", "formula", display, { alt: ["paragraph", "blockquote", "list"] });

/**
 * Render a text.
 *
 * @param {string} text
 * @returns {Tree[]}
 */
export function markdown(text) {
  return trees(parser.parse(text, {}));
}

/**
 * Render what stands in one line.
 *
 * @param {string} text
 * @returns {Tree[]}
 */
export function inline(text) {
  return trees(parser.parseInline(text, {}));
}

/**
 * Indent what stands under a numbered item as CommonMark wants it: models often indent it by fewer columns.
 *
 * @param {string[]} lines
 */
function indented(lines) {
  let [outer, inner, shift, fence] = [0, 0, 0, ""];
  return lines.map((line) => {
    const [gap, said] = [line.length - line.trimStart().length, line.trim()];
    const opened = FENCE.exec(said)?.[0];
    const inside = fence !== "" || (inner > 0 && gap > outer);
    if (fence ? said === fence[0].repeat(said.length) && said.length >= fence.length : opened) {
      fence = fence ? "" : /** @type {string} */ (opened);
    }
    if (!said || (inside && inner === 0)) return line;
    const item = inside ? null : NUMBERED.exec(line);
    if (item) [outer, inner, shift] = [item[1].length, item[0].length, 0];
    else if (!inside) inner = 0;
    else if (inner && !shift && gap < inner && !NUMBERED.test(line)) shift = inner - gap;
    return item || !inside ? line : " ".repeat(shift) + line;
  });
}

/**
 * The inline rule of formulas: \(…\), \[…\], $$…$$ and $…$, by pandoc's rule that a price is none.
 *
 * @param {any} state
 * @param {boolean} silent
 */
function formula(state, silent) {
  const { src, pos } = state;
  const begin = ["\\(", "\\[", "$$", "$"].find((each) => src.startsWith(each, pos));
  if (!begin) return false;
  const end = begin === "\\(" ? "\\)" : begin === "\\[" ? "\\]" : begin;
  const from = pos + begin.length;
  if (begin === "$" && /\s/.test(src[from] ?? " ")) return false;
  const to = state.find(end, from);
  if (to < 0 || to > state.posMax || !src.slice(from, to).trim()) return false;
  if (begin === "$" && (/\s/.test(src[to - 1]) || /\d/.test(src[to + 1] ?? ""))) return false;
  if (!silent) {
    const token = state.push("formula", "", 0);
    token.content = src.slice(from, to);
    token.hidden = begin === "\\(" || begin === "$"; // not on a line of its own
  }
  state.pos = to + end.length;
  return true;
}

/**
 * The block rule of formulas that have their lines for themselves; one that is not closed yet is no formula yet.
 *
 * @param {any} state
 * @param {number} from
 * @param {number} until
 * @param {boolean} silent
 */
function display(state, from, until, silent) {
  const lineAt = (/** @type {number} */ at) => state.src.slice(state.bMarks[at] + state.tShift[at], state.eMarks[at]).trimEnd();
  const first = lineAt(from);
  const close = first.startsWith("\\[") ? "\\]" : first.startsWith("$$") ? "$$" : null;
  if (!close || state.sCount[from] - state.blkIndent >= 4) return false;
  const lines = [];
  for (let at = from; at < Math.min(until, from + LONGEST) && !state.isEmpty(at); at += 1) {
    const line = at === from ? first.slice(2) : lineAt(at);
    if (at > from && (state.sCount[at] < state.blkIndent || line.startsWith("\\["))) return false;
    const end = line.indexOf(close);
    lines.push(end < 0 ? line : line.slice(0, end));
    if (end < 0) continue;
    const source = lines.join("\n");
    if (!source.trim() || !/^[\s.,;:]*$/.test(line.slice(end + 2))) return false; // it stands in a sentence
    if (!silent) {
      state.push("display", "", 0).content = source;
      state.line = at + 1;
    }
    return true;
  }
  return false;
}

/**
 * Turn markdown-it's tokens into trees.
 *
 * @param {any[]} tokens
 * @returns {Tree[]}
 */
function trees(tokens) {
  /** @type {Tree[]} */
  const root = [];
  grow(tokens, [root]);
  return root;
}

/**
 * @param {any[]} tokens
 * @param {Tree[][]} open where children go, from the outermost element to the innermost
 */
function grow(tokens, open) {
  for (const [place, token] of tokens.entries()) {
    const into = /** @type {Tree[]} */ (open.at(-1));
    if (token.nesting < 0) {
      const closed = /** @type {Tree[]} */ (open.pop());
      if (token.type === "tr_close") trim(closed);
    } else if (token.type === "inline") {
      if (tokens[place - 2]?.type === "list_item_open") tick(token.children);
      grow(token.children, open);
    } else if (token.nesting === 0) {
      into.push(...leaf(token));
    } else {
      const element = open.length > DEEPEST ? null : elementOf(token);
      open.push(element ? element.children : into);
      if (element) into.push(token.type === "table_open" ? wide(element) : element);
    }
  }
}

/**
 * Make the element that a token opens, or null where its children stand in the one around it.
 *
 * @param {any} token
 * @returns {Element | null}
 */
function elementOf(token) {
  if (token.hidden) return null; // the paragraph of an item without room
  const [tag, side] = [token.tag === "s" ? "del" : token.tag, /(right|center)/.exec(token.attrGet("style") ?? "")];
  if (tag === "a") return link(token.attrGet("href"));
  if (token.type === "heading_open") return node(`h${Math.min(6, Number(tag[1]) + 2)}`); // under the page's own
  const start = token.attrGet("start");
  return node(tag, start !== null ? { start: String(start) } : side ? { class: side[1] } : {});
}

/**
 * @param {any} token
 * @returns {Tree[]}
 */
function leaf(token) {
  switch (token.type) {
    case "softbreak": // models end lines where they want them to end
    case "hardbreak":
      return [node("br")];
    case "hr":
      return [node("hr")];
    case "code_inline":
      return [node("code", {}, token.content)];
    case "formula":
      return [math(token.content, !token.hidden)];
    case "display":
      return [node("div", { class: "display" }, math(token.content, true))];
    case "fence":
    case "code_block":
      return [{ code: token.content.replace(/\n$/, ""), language: token.info.trim().split(/[\s,{]/)[0] }];
    case "image": { // nothing is loaded
      const found = link(token.attrGet("src"), token.content);
      return found ? [found] : [token.content];
    }
    default:
      return token.content ? [token.content] : [];
  }
}

/**
 * @param {string} address
 * @param {Tree[]} children
 */
function link(address, ...children) {
  const href = safe(address);
  return href === null ? null : node("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}

/**
 * Let a wide table be scrolled.
 *
 * @param {Element} table
 */
function wide(table) {
  return node("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}

/**
 * Take the empty cells away that a row was filled up with, but a few.
 *
 * @param {Tree[]} row
 */
function trim(row) {
  const empty = (/** @type {any} */ cell) => cell.children.length === 0;
  let last = row.length;
  while (last > 0 && empty(row[last - 1])) last -= 1;
  row.length = Math.min(row.length, last + FILLED);
}

/**
 * Show the box of a task.
 *
 * @param {any[]} tokens of an item's first line
 */
function tick(tokens) {
  const task = TASK.exec(tokens[0]?.content ?? "");
  if (task && tokens[0].type === "text") tokens[0].content = (task[1] === " " ? "☐ " : "☑ ") + tokens[0].content.slice(task[0].length);
}
