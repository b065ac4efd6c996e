/** Keeps a reader who is at the end of the conversation there, and leaves one who has scrolled back in peace. */

const NEAR = 64; // pixels

/**
 * Change the page and stay at its end, if the reader is there.
 *
 * @param {() => void} change
 */
export function following(change) {
  const root = document.documentElement;
  const near = root.scrollHeight - root.scrollTop - root.clientHeight < NEAR;
  change();
  if (near) toEnd();
}

export function toEnd() {
  const root = document.documentElement;
  root.scrollTop = root.scrollHeight;
}
