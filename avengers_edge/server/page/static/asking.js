/** From a conversation and what is set, the request that asks on. */

/**
 * One question and what came of it.
 *
 * @typedef {object} Turn
 * @property {string} question
 * @property {string} text the answer, as far as it came
 * @property {"asking" | "done" | "stopped" | "failed"} state
 * @property {import("./server.js").Info | null} info
 * @property {string} finish why the text ended
 * @property {number} tokens written in all, by all samples
 * @property {number} prefer what was set when it was asked
 * @property {import("./problems.js").Words | null} problem
 * @property {boolean} [kept] the answer is that of an earlier try
 *
 * @typedef {object} Settings
 * @property {string} model
 * @property {number | null} samples null leaves it to the team
 * @property {number} prefer 1 is accuracy, 0 is speed
 * @property {string} system
 * @property {number | null} tokens null leaves it to the team
 * @property {boolean} first show the first sample while the others vote
 */

/** @type {Settings} */
export const USUAL = { model: "avengers", samples: null, prefer: 1, system: "", tokens: null, first: false };

/**
 * Tell whether a model name means a team, which routes and votes.
 *
 * @param {string} model
 */
export function isTeam(model) {
  return model === "avengers" || model.startsWith("avengers/");
}

/**
 * Begin a turn.
 *
 * @param {string} question
 * @returns {Turn}
 */
export function turnOf(question) {
  return { question, text: "", state: "asking", info: null, finish: "", tokens: 0, prefer: 1, problem: null };
}

/**
 * Have a question that got a single answer drawn anew: that one can have been the greedy answer, which would come again.
 *
 * @param {Turn} before what was answered
 * @param {Settings} settings
 * @returns {Settings}
 */
export function redrawn(before, settings) {
  // Of what was stopped nothing is known but that text came as it was written, which it does where nobody votes.
  const single = before.info ? before.info.samples_requested === 1 : before.text !== "" && !settings.first;
  return single && isTeam(settings.model) ? { ...settings, samples: settings.samples ?? 1 } : settings;
}

/**
 * Make the body of a chat completion.
 *
 * @param {Turn[]} before what was said; turns without an answer are left out, as if they had not been
 * @param {string} question
 * @param {Settings} settings
 */
export function requestOf(before, question, settings) {
  const said = before
    .filter((turn) => turn.text.trim())
    .flatMap((turn) => [
      { role: "user", content: turn.question },
      { role: "assistant", content: turn.text },
    ]);
  const system = settings.system.trim();
  return {
    model: settings.model,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...said, { role: "user", content: question }],
    stream: true,
    stream_options: { include_usage: true },
    ...(settings.tokens && { max_tokens: settings.tokens }),
    ...(knobsOf(settings) && { avengers: knobsOf(settings) }),
  };
}

/** @param {Settings} settings */
function knobsOf(settings) {
  if (!isTeam(settings.model) && settings.samples === null) return null; // one model, asked once: there is no vote
  return {
    texts: true,
    ...(settings.samples && { samples: settings.samples }),
    ...(isTeam(settings.model) && settings.prefer < 1 && { prefer: settings.prefer }),
    ...(settings.first && { stream: "first" }),
  };
}
