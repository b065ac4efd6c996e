/**
 * Scrolls as an answer grows: a reader who is at the end stays there, until the question is at the window's top, where
 * reading begins; one who has scrolled back is left in peace.
 */

const NEAR = 64; // pixels

/**
 * Change a turn, and scroll with it.
 *
 * @param {HTMLElement} turn
 * @param {() => void} change
 */
export function following(turn, change) {
  const root = document.documentElement;
  const near = root.scrollHeight - root.scrollTop - root.clientHeight < NEAR;
  change();
  if (!near) return;
  const padding = parseFloat(getComputedStyle(root).scrollPaddingTop);
  const top = root.scrollTop + turn.getBoundingClientRect().top - padding;
  root.scrollTop = root.scrollTop > top + 1 ? root.scrollHeight : Math.min(root.scrollHeight, top);
}

export function toEnd() {
  const root = document.documentElement;
  root.scrollTop = root.scrollHeight;
}

/**
 * Scroll by most of a window.
 *
 * @param {1 | -1} direction
 */
export function page(direction) {
  const root = document.documentElement;
  root.scrollTop += direction * 0.75 * root.clientHeight;
}
