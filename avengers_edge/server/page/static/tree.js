/**
 * Content as plain values, before it is a document: what is rendered can be tested without a browser, and everything
 * that becomes an element passes through one door (`dom.js`).
 *
 * @typedef {{tag: string, attrs: Record<string, string>, children: Tree[]}} Element
 * @typedef {{code: string, language: string}} Code a block of code, which gets a copy button
 * @typedef {string | Element | Code} Tree
 */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, string>} attrs
 * @param {Tree[]} children
 * @returns {Element}
 */
export function node(tag, attrs = {}, ...children) {
  return { tag, attrs, children };
}

/**
 * Give all text inside, as a screen reader would hear it.
 *
 * @param {Tree[]} trees
 * @returns {string}
 */
export function textOf(trees) {
  return trees
    .map((tree) => {
      if (typeof tree === "string") return tree;
      if ("code" in tree) return tree.code;
      if (tree.tag === "br") return "\n";
      const inner = textOf(tree.children);
      return BLOCKS.has(tree.tag) ? `${inner}\n` : inner;
    })
    .join("");
}

const BLOCKS = new Set(["p", "h3", "h4", "h5", "h6", "li", "tr", "td", "th", "blockquote", "pre"]);

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
