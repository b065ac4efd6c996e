/**
 * The one door between values and the document: trees become elements of a few known kinds, text stays text. Nothing is
 * ever parsed as HTML; the page's policy (Trusted Types) would refuse it.
 */

import { highlight } from "./highlight.js";
import { safe, textOf } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */

const TAGS = new Set(
  (
    "p h3 h4 h5 h6 ul ol li blockquote code em strong del a br hr table thead tbody tr th td div span dl dt dd " +
    "section"
  ).split(" "),
);
const FORMULAS = new Set(
  "math mrow mi mn mo mtext mspace mfrac msup msub msubsup msqrt mroot mover mtable mtr mtd".split(" "),
);
const ATTRIBUTES = new Set(
  "class start rel target display linethickness width tabindex role aria-label aria-hidden".split(" "),
);

/**
 * Find an element that the page has.
 *
 * @template {Element} [T=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} within
 * @returns {T}
 */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/**
 * Make the first element of a template.
 *
 * @param {string} name
 * @returns {HTMLElement}
 */
export function stamp(name) {
  const template = /** @type {HTMLTemplateElement} */ (find(`#template-${name}`));
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  return /** @type {HTMLElement} */ (copy.firstElementChild);
}

/**
 * Make a node of the document out of a tree.
 *
 * @param {Tree} tree
 * @returns {Node}
 */
export function build(tree) {
  if (typeof tree === "string") return document.createTextNode(tree);
  if ("code" in tree) return codeBlock(tree.code, tree.language);
  const element = elementOf(tree.tag);
  for (const [name, value] of Object.entries(tree.attrs)) {
    if (name === "href") element.setAttribute("href", safe(value) ?? "");
    else if (name === "share") /** @type {HTMLElement} */ (element).style.setProperty("--share", value);
    else if (ATTRIBUTES.has(name)) element.setAttribute(name, value);
    else throw new Error(`no element has ${name}`);
  }
  element.append(...tree.children.map(build));
  return element;
}

/**
 * Show trees in an element, and leave the nodes of those that were there before as they are.
 *
 * @param {HTMLElement} element
 * @param {Tree[]} trees
 * @param {string[]} shown what it shows now, one JSON text for each tree
 * @returns {string[]} what it shows then
 */
export function show(element, trees, shown) {
  const texts = trees.map((tree) => JSON.stringify(tree));
  let same = 0;
  while (same < texts.length && texts[same] === shown[same]) same += 1;
  while (element.childNodes.length > same) element.lastChild?.remove();
  element.append(...trees.slice(same).map(build));
  return texts;
}

/**
 * Put a text on the clipboard, also where the page came without TLS and the modern way is closed.
 *
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const [area, focused] = [document.createElement("textarea"), document.activeElement];
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}

/**
 * Let a button copy, and say for a moment that it did.
 *
 * @param {HTMLElement} button
 * @param {() => string} text
 */
export function copies(button, text) {
  const label = find("[data-label]", button);
  const usual = label.textContent;
  button.addEventListener("click", async () => {
    label.textContent = (await copy(text())) ? "Copied" : "Not copied";
    setTimeout(() => (label.textContent = usual), 2000);
  });
}

/** @param {string} tag */
function elementOf(tag) {
  if (TAGS.has(tag)) return document.createElement(tag);
  if (!FORMULAS.has(tag)) throw new Error(`there is no element ${tag}`);
  const namespace = stamp("formula").namespaceURI;
  return document.createElementNS(namespace, tag);
}

/**
 * @param {string} code
 * @param {string} language
 */
function codeBlock(code, language) {
  const block = stamp("code-block");
  find("[data-language]", block).textContent = language || "code";
  const trees = highlight(code, language);
  find("code", block).append(...trees.map(build));
  copies(find("button", block), () => textOf(trees));
  return block;
}
