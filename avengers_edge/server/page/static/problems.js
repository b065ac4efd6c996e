/** What went wrong, in words, with what to do about it. */

/** @typedef {"again" | "key" | "new" | "models" | ""} Cure what a button offers */
/** @typedef {{message: string, advice: string, cure: Cure}} Words */

/** A refusal or failure of the server, or of the way to it. `status` is 0 where there was no response. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {string} code of the server's error object, or "unreachable" or "broken"
   * @param {number} status
   */
  constructor(message, code = "", status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** @type {Record<string, [string, Cure]>} */
const ADVICE = {
  unreachable: ["Is `avengers serve` still running? This page looks for it and says when it is back.", "again"],
  broken: ["What came by then is kept. Ask again to have it whole.", "again"],
  invalid_api_key: ["Whoever runs this server has the key.", "key"],
  bad_origin: ["Open the page under the address that the server printed.", ""],
  bad_host: ["Open the page under the address that the server printed.", ""],
  model_not_found: ["Choose another model below: the list is read again.", "models"],
  does_not_fit: ["Start a new chat, or ask something shorter: the whole conversation is sent each time.", "new"],
  context_length_exceeded: ["Start a new chat, or ask something shorter: the whole conversation is sent each time.", "new"],
  body_too_large: ["Start a new chat: the whole conversation is sent each time.", "new"],
  overloaded: ["Many are asking. Wait a moment, then ask again.", "again"],
  shutting_down: ["Ask again when it is back.", "again"],
  engine_died: ["It is started anew with the next question.", "again"],
  timeout: ["Ask for less: fewer samples, or a shorter answer.", "again"],
  unknown_path: ["This page is of another version than the server: reload it.", ""],
  method_not_allowed: ["This page is of another version than the server: reload it.", ""],
  not_found: ["The command that the message names mends it.", "again"],
};

/**
 * Put a problem in words.
 *
 * @param {unknown} error
 * @returns {Words}
 */
export function wordsOf(error) {
  if (!(error instanceof Problem)) {
    return { message: `The page failed: ${error}`, advice: "Reload it; the conversation is kept.", cure: "again" };
  }
  const [advice, cure] = ADVICE[error.code] ?? ["", error.status >= 500 ? "again" : ""];
  return { message: sentence(error.message), advice, cure };
}

/** @param {string} message one line of the server's */
function sentence(message) {
  const said = message.trim() || "the server failed and did not say why";
  return said[0].toUpperCase() + said.slice(1) + (/[.!?…]$/.test(said) ? "" : ".");
}
