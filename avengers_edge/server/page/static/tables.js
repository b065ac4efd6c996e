/** Tables, as GitHub writes them. */

import { inline } from "./inline.js";
import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */

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
  return columns.every((cell) => /^:?-+:?$/.test(cell)) && columns.length === cells(lines[at]).length;
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
  const made = sides.map((side, place) => node(tag, side ? { class: side } : {}, ...inline(said[place] ?? "")));
  return node("tr", {}, ...made);
}

/** @param {string} line */
function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
