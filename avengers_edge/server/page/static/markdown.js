/**
 * Markdown as models write it: paragraphs, headings, lists, tables, quotes, code, formulas. CommonMark where it says
 * something, but lists may be indented as little as they are, lines end where they end, and HTML is text.
 */

import { inline } from "./inline.js";
import { math } from "./math.js";
import { isTable, tabled } from "./tables.js";
import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {{indent: number, inner: number, ordered: boolean, sign: string, start: string, rest: string}} Marker */

const FENCE = /^ *(`{3,}|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t](.*))?$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const MARKER = /^( *)(?:([-*+])|(\d{1,9})([.)]))(?:( +)(.*))?$/s;
const TASK = /^\[([ xX])\] +/;
const DEEPEST = 24;
const LONGEST = 60; // lines of a formula

/**
 * Render a text.
 *
 * @param {string} text
 * @returns {Tree[]}
 */
export function markdown(text) {
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\0", "�").split("\n");
  return blocks(lines.map((line) => line.replace(/^[ \t]+/, (gap) => gap.replaceAll("\t", "    "))), 0);
}

/**
 * @param {string[]} lines
 * @param {number} depth how many lists and quotes are around
 * @returns {Tree[]}
 */
function blocks(lines, depth) {
  /** @type {Tree[]} */
  const trees = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [tree, next] = block(lines, at, depth);
    trees.push(tree);
    at = next;
  }
  return trees;
}

/**
 * Read the block that begins at a line that is not empty.
 *
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {[Tree, number]} it, and where the next may begin
 */
function block(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return fenced(lines, at);
  const heading = HEADING.exec(line);
  if (heading) {
    const level = Math.min(6, heading[1].length + 2); // the page's own headings are above them
    const said = (heading[2] ?? "").trim().replace(/(?:^|[ \t])#+$/, "");
    return [node(`h${level}`, {}, ...inline(said.trim())), at + 1];
  }
  if (RULE.test(line)) return [node("hr"), at + 1];
  const formula = displayed(lines, at);
  if (formula) return formula;
  if (depth < DEEPEST) {
    if (/^ {0,3}>/.test(line)) return quoted(lines, at, depth);
    if (marker(line)) return listed(lines, at, depth);
  }
  if (isTable(lines, at)) return tabled(lines, at, (to) => interrupts(lines, to));
  if (/^ {4}/.test(line)) return indented(lines, at);
  return paragraph(lines, at, depth);
}

/**
 * @param {string[]} lines
 * @param {number} from
 * @returns {[Tree, number]}
 */
function fenced(lines, from) {
  const [, fence, info] = /** @type {RegExpExecArray} */ (FENCE.exec(lines[from]));
  const gap = indentOf(lines[from]);
  let to = from + 1;
  while (to < lines.length && !ends(lines[to], fence)) to += 1; // to the end, where it is still being written
  const code = lines.slice(from + 1, to).map((line) => line.slice(Math.min(gap, indentOf(line))));
  return [{ code: code.join("\n"), language: info.trim().split(/[\s,{]/)[0] }, to + 1];
}

/**
 * @param {string} line
 * @param {string} fence what opened it
 */
function ends(line, fence) {
  const said = line.trim();
  return said.length >= fence.length && said === fence[0].repeat(said.length);
}

/**
 * @param {string[]} lines
 * @param {number} from
 * @returns {[Tree, number]}
 */
function indented(lines, from) {
  let to = from;
  while (to < lines.length && (/^ {4}/.test(lines[to]) || !lines[to].trim())) to += 1;
  while (!lines[to - 1].trim()) to -= 1;
  const code = lines.slice(from, to).map((line) => line.slice(4));
  return [{ code: code.join("\n"), language: "" }, to];
}

/**
 * Read a formula that has its lines for itself; one that is not closed yet is no formula yet.
 *
 * @param {string[]} lines
 * @param {number} from
 * @returns {[Tree, number] | null}
 */
function displayed(lines, from) {
  const first = lines[from].trim();
  const close = first.startsWith("\\[") ? "\\]" : first.startsWith("$$") ? "$$" : null;
  if (!close) return null;
  for (let to = from; to < Math.min(lines.length, from + LONGEST) && lines[to].trim(); to += 1) {
    const said = lines[to].trimEnd();
    if (to > from && said.trimStart().startsWith("\\[")) return null; // another begins before this one ends
    const begin = to === from ? said.indexOf(first.slice(0, 2)) + 2 : 0;
    const end = said.indexOf(close, begin);
    if (end < 0) continue;
    if (end + 2 < said.length && !/^[\s.,;:]*$/.test(said.slice(end + 2))) return null; // it stands in a sentence
    const source = [...lines.slice(from, to), said.slice(0, end)].join("\n").trimStart().slice(2);
    return source.trim() ? [node("div", { class: "display" }, math(source, true)), to + 1] : null;
  }
  return null;
}

/**
 * @param {string[]} lines
 * @param {number} from
 * @param {number} depth
 * @returns {[Tree, number]}
 */
function quoted(lines, from, depth) {
  let to = from;
  while (to < lines.length && /^ {0,3}>/.test(lines[to])) to += 1;
  const inside = lines.slice(from, to).map((line) => line.replace(/^ {0,3}> ?/, ""));
  return [node("blockquote", {}, ...blocks(inside, depth + 1)), to];
}

/**
 * @param {string} line
 * @returns {Marker | null}
 */
function marker(line) {
  const found = MARKER.exec(line);
  if (!found || RULE.test(line)) return null;
  const [, gap, bullet, number, dot, space, rest] = found;
  const width = gap.length + (bullet ?? `${number}${dot}`).length;
  const inner = width + (space && space.length < 5 ? space.length : 1);
  return {
    ...{ indent: gap.length, inner, ordered: !bullet, sign: bullet ?? dot },
    ...{ start: number ?? "", rest: space ? line.slice(inner) || (rest ?? "") : "" },
  };
}

/**
 * Read a list: its items' lines are whatever is indented more than its markers, and what still belongs to a paragraph.
 *
 * @param {string[]} lines
 * @param {number} from
 * @param {number} depth
 * @returns {[Tree, number]}
 */
function listed(lines, from, depth) {
  const first = /** @type {Marker} */ (marker(lines[from]));
  /** @type {string[][]} */
  const items = [];
  let [at, loose] = [from, false];
  for (let next = /** @type {Marker | null} */ (first); next && same(next, first); ) {
    const [item, end] = itemOf(lines, at, next);
    items.push(item);
    at = end;
    while (at < lines.length && !lines[at].trim()) at += 1;
    next = at < lines.length ? marker(lines[at]) : null;
    const goesOn = next !== null && same(next, first);
    if (!goesOn) at = end;
    loose ||= (goesOn && at > end) || hasGap(item);
  }
  const children = items.map((item) => node("li", {}, ...content(item, loose, depth)));
  const attrs = first.ordered && first.start !== "1" ? { start: String(Number(first.start)) } : {};
  return [node(first.ordered ? "ol" : "ul", /** @type {Record<string, string>} */ (attrs), ...children), at];
}

/**
 * @param {Marker} one
 * @param {Marker} other
 */
function same(one, other) {
  return one.ordered === other.ordered && one.sign === other.sign && one.indent < other.inner;
}

/**
 * @param {string[]} lines
 * @param {number} from
 * @param {Marker} mark
 * @returns {[string[], number]} its lines without their indent, and where it ends
 */
function itemOf(lines, from, mark) {
  const item = [mark.rest];
  let fence = FENCE.exec(mark.rest)?.[1] ?? "";
  let to = from + 1;
  for (let at = to; at < lines.length; at += 1) {
    const line = lines[at];
    const deeper = indentOf(line) > mark.indent;
    const lazy = lines[at - 1].trim() && !deeper && !marker(line) && !interrupts(lines, at);
    if (line.trim() && !fence && !deeper && !lazy) break;
    item.push(line.slice(Math.min(mark.inner, indentOf(line))));
    if (fence ? ends(line, fence) : FENCE.test(line)) fence = fence ? "" : (FENCE.exec(line)?.[1] ?? "");
    if (line.trim()) to = at + 1;
  }
  return [item.slice(0, to - from), to];
}

/**
 * Tell whether an item has an empty line outside of code.
 *
 * @param {string[]} item
 */
function hasGap(item) {
  let fence = false;
  return item.some((line) => {
    if (FENCE.test(line)) fence = !fence;
    return !fence && !line.trim();
  });
}

/**
 * @param {string[]} item
 * @param {boolean} loose
 * @param {number} depth
 * @returns {Tree[]}
 */
function content(item, loose, depth) {
  const task = TASK.exec(item[0]);
  const lines = task ? [item[0].slice(task[0].length), ...item.slice(1)] : item;
  const trees = blocks(lines, depth + 1).flatMap((tree) =>
    !loose && typeof tree === "object" && "tag" in tree && tree.tag === "p" ? tree.children : [tree],
  );
  return task ? [task[1] === " " ? "☐ " : "☑ ", ...trees] : trees;
}

/**
 * Tell whether a line ends the paragraph before it.
 *
 * @param {string[]} lines
 * @param {number} at
 */
function interrupts(lines, at) {
  const line = lines[at];
  if (!line.trim() || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || /^ {0,3}>/.test(line)) return true;
  const mark = marker(line);
  return (mark?.rest && (!mark.ordered || mark.start === "1")) || isTable(lines, at) || displayed(lines, at) !== null;
}

/**
 * @param {string[]} lines
 * @param {number} from
 * @param {number} depth
 * @returns {[Tree, number]}
 */
function paragraph(lines, from, depth) {
  let to = from + 1;
  while (to < lines.length && (depth < DEEPEST ? !interrupts(lines, to) : lines[to].trim())) to += 1;
  const said = lines.slice(from, to).map((line) => line.trimStart());
  return [node("p", {}, ...inline(said.join("\n").trimEnd())), to];
}

/** @param {string} line */
function indentOf(line) {
  return line.length - line.trimStart().length;
}
