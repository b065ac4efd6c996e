/** Which stars and underscores are emphasis: the delimiter rules of CommonMark (spec 0.31, appendix). */

import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */

const DEEPEST = 30;

/**
 * A piece of a line: a finished tree, or a run of delimiters that may still become emphasis.
 *
 * @typedef {object} Piece
 * @property {Tree | null} tree
 * @property {string} mark "*", "_", "~", "[" or ""
 * @property {number} count how many marks are left
 * @property {boolean} opens
 * @property {boolean} closes
 * @property {number} depth how many emphases are in each other inside
 * @property {Piece | null} before
 * @property {Piece | null} after
 */

/**
 * Make a piece that is no delimiter.
 *
 * @param {Tree | null} tree
 * @returns {Piece}
 */
export function piece(tree) {
  return { tree, mark: "", count: 0, opens: false, closes: false, depth: 0, before: null, after: null };
}

/**
 * Turn the delimiters after a piece into emphasis, where they pair.
 *
 * @param {Piece} bottom
 */
export function emphasize(bottom) {
  /** @type {Map<string, Piece>} how far back an opener was looked for in vain */
  const floors = new Map();
  let closer = bottom.after;
  while (closer) {
    if (!closer.closes || !closer.count) {
      closer = closer.after;
      continue;
    }
    const key = `${closer.mark}${closer.opens}${closer.count % 3}`;
    const opener = openerOf(closer, floors.get(key) ?? bottom);
    if (!opener || !pair(opener, closer)) {
      floors.set(key, /** @type {Piece} */ (closer.before));
      closer = closer.after;
      continue;
    }
    if (!closer.count) closer = closer.after;
  }
}

/**
 * Give the pieces from one on, up to another, as trees.
 *
 * @param {Piece | null} from
 * @param {Piece | null} to
 * @returns {Tree[]}
 */
export function trees(from, to) {
  /** @type {Tree[]} */
  const given = [];
  for (let at = from; at && at !== to; at = at.after) {
    const tree = at.count ? at.mark.repeat(at.count) : at.tree;
    if (!tree) continue;
    const last = given.at(-1);
    if (typeof tree === "string" && typeof last === "string") given[given.length - 1] = last + tree;
    else given.push(tree);
  }
  return given;
}

/**
 * @param {Piece} closer
 * @param {Piece} floor
 */
function openerOf(closer, floor) {
  for (let at = closer.before; at && at !== floor; at = at.before) {
    if (at.mark !== closer.mark || !at.opens || !at.count) continue;
    const both = at.closes || closer.opens;
    const odd = (at.count + closer.count) % 3 === 0 && (at.count % 3 !== 0 || closer.count % 3 !== 0);
    if (!both || !odd) return at;
  }
  return null;
}

/**
 * @param {Piece} opener
 * @param {Piece} closer
 * @returns {boolean} whether it was done: nobody means so many in each other
 */
function pair(opener, closer) {
  let depth = 1;
  for (let at = opener.after; at && at !== closer; at = at.after) depth = Math.max(depth, at.depth + 1);
  if (depth > DEEPEST) return false;
  const marks = opener.count > 1 && closer.count > 1 ? 2 : 1;
  const tag = closer.mark === "~" ? "del" : marks === 2 ? "strong" : "em";
  const made = piece(node(tag, {}, ...trees(opener.after, closer)));
  made.depth = depth;
  made.before = opener;
  made.after = closer;
  opener.after = made;
  closer.before = made;
  opener.count -= marks;
  closer.count -= marks;
  return true;
}
