/** Tables, as GitHub writes them. */

import { inline } from "./inline.js";
import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */

const WIDEST = 100; // columns
const FILLED = 8; // cells that a short row is given: a few letters must not become thousands of cells

/**
 * Tell whether a table begins at a line.
 *
 * @param {string[]} lines
 * @param {number} at
 */
export function isTable(lines, at) {
  const rule = lines[at + 1];
  if (!rule || !lines[at].includes("|") || !rule.includes("-")) return false;
  const columns = cells(rule);
  if (columns.length > WIDEST || columns.length !== cells(lines[at]).length) return false;
  return columns.every((cell) => /^:?-+:?$/.test(cell));
}

/**
 * Read the table that begins at a line.
 *
 * @param {string[]} lines
 * @param {number} from
 * @param {(at: number) => boolean} ends tells whether something else begins at a line
 * @returns {[Tree, number]} it, and where the next block may begin
 */
export function tabled(lines, from, ends) {
  const sides = cells(lines[from + 1]).map(sideOf);
  let to = from + 2;
  while (to < lines.length && lines[to].includes("|") && !ends(to)) to += 1;
  const body = lines.slice(from + 2, to).map((line) => row("td", line, sides));
  const table = node("table", {}, node("thead", {}, row("th", lines[from], sides)), node("tbody", {}, ...body));
  return [node("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, table), to];
}

/** @param {string} cell of the line under the head */
function sideOf(cell) {
  if (!cell.endsWith(":")) return "";
  return cell.startsWith(":") ? "center" : "right";
}

/**
 * @param {string} tag
 * @param {string} line
 * @param {string[]} sides
 * @returns {Tree}
 */
function row(tag, line, sides) {
  const said = cells(line);
  const wide = sides.slice(0, said.length + FILLED);
  const made = wide.map((side, place) => node(tag, side ? { class: side } : {}, ...inline(said[place] ?? "")));
  return node("tr", {}, ...made);
}

/** @param {string} line */
function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
