/** What outlives a reload: this tab's session storage, which is gone when the tab is closed, and nothing else. */

/**
 * Read a value.
 *
 * @template T
 * @param {string} name
 * @param {T} usual if there is none
 * @returns {T}
 */
export function load(name, usual) {
  try {
    const said = sessionStorage.getItem(`avengers.${name}`);
    return said === null ? usual : JSON.parse(said);
  } catch {
    return usual;
  }
}

/**
 * Keep a value; null forgets it. Without room or permission it lives as long as the page.
 *
 * @param {string} name
 * @param {unknown} value
 * @returns {boolean} whether it is kept
 */
export function save(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(`avengers.${name}`);
    else sessionStorage.setItem(`avengers.${name}`, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/**
 * Keep a conversation: if it does not fit, without the samples that were not elected.
 *
 * @param {import("./asking.js").Turn[]} turns
 */
export function saveTurns(turns) {
  const lean = turns.map((turn) => ({ ...turn, info: turn.info && { ...turn.info, samples: undefined } }));
  return save("turns", turns) || save("turns", lean);
}
