/** The server as this page needs it: its models, its health, and answers as they are made. */

import { Problem } from "./problems.js";
import { EventReader } from "./sse.js";

/**
 * What an answer says of how it came about; see the server's extension object `avengers`.
 *
 * @typedef {object} Info
 * @property {string} model
 * @property {string[]} models
 * @property {{cluster: number | null, similarity: number | null, ranking: {model: string, score: number}[],
 *   margin: number, fallback: string | null} | null} route
 * @property {{key: string, count: number, weight: number}[]} votes
 * @property {number | null} confidence the calibrated chance that the answer is right
 * @property {number | null} [agreement] the winner's share of the votes, by weight
 * @property {string | null} [output] what the program printed, where the answer is a program's
 * @property {number} samples_requested
 * @property {number} samples_used
 * @property {boolean} [stopped_early]
 * @property {number} saved_tokens
 * @property {Record<string, number>} timings_ms
 * @property {{model: string, text: string, key: string | null, tokens: number, finish_reason: string,
 *   failure?: string | null}[]} [samples]
 * @property {string | null} [corrected]
 * @property {string} [answer]
 * @property {string} [kind]
 *
 * @typedef {{finished: number, samples: number, asking: string, count: number, leader: string}} Progress
 * @typedef {{prompt_tokens: number, completion_tokens: number}} Usage
 * @typedef {{text: string} | {progress: Progress} | {loading: string} | {info: Info, finish: string} | {usage: Usage}} Told
 */

const VOTING = /^voting (\d+) of (\d+), asking (.*?)(?:, leading with (\d+): (.*))?$/s;

/**
 * Read a comment that tells of a vote; null for another one.
 *
 * @param {string} comment
 * @returns {Progress | null}
 */
export function progressOf(comment) {
  const found = VOTING.exec(comment);
  if (!found) return null;
  const [finished, samples, count] = [found[1], found[2], found[4] ?? "0"].map(Number);
  return { finished, samples, asking: found[3], count, leader: found[5] ?? "" };
}

export class Server {
  /** @param {() => string} key gives the API key, or "" */
  constructor(key) {
    this.key = key;
  }

  /**
   * List the models that can be asked.
   *
   * @returns {Promise<string[]>}
   */
  async models() {
    const listed = await (await this.fetch("v1/models", {})).json();
    return listed.data.filter((/** @type {any} */ each) => each.avengers?.task !== "embedding").map(
      (/** @type {any} */ each) => each.id,
    );
  }

  /**
   * Tell how the server is.
   *
   * @returns {Promise<{status: "ok" | "loading" | "degraded" | "gone", reason: string}>}
   */
  async health() {
    try {
      const body = await (await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(10_000) })).json();
      return { status: body.status ?? "degraded", reason: body.reason ?? body.error?.message ?? "" };
    } catch {
      return { status: "gone", reason: "" };
    }
  }

  /**
   * Ask, and give what is told until the answer is whole.
   *
   * @param {object} body of a chat completion
   * @param {AbortSignal} signal calls it off
   * @returns {AsyncGenerator<Told>}
   */
  async *chat(body, signal) {
    const headers = { "Content-Type": "application/json" };
    const response = await this.fetch("v1/chat/completions", {
      ...{ method: "POST", headers, signal, body: JSON.stringify(body) },
    });
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    const events = new EventReader();
    try {
      for (;;) {
        const { value, done } = await reader.read().catch((error) => {
          throw signal.aborted ? error : broken();
        });
        if (done) throw broken();
        for (const event of events.push(value)) {
          if ("data" in event && event.data === "[DONE]") return;
          yield* told(event);
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   */
  async fetch(path, request) {
    const key = this.key();
    const headers = { ...request.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    const response = await fetch(path, { ...request, headers, cache: "no-store" }).catch((error) => {
      throw request.signal?.aborted ? error : new Problem("The server cannot be reached.", "unreachable");
    });
    if (response.ok) return response;
    const said = await response.json().catch(() => ({}));
    throw problem(said.error ?? {}, response.status);
  }
}

/**
 * @param {import("./sse.js").Heard} event
 * @returns {Generator<Told>}
 */
function* told(event) {
  if ("comment" in event) {
    const progress = progressOf(event.comment);
    if (progress) yield { progress };
    else if (event.comment.startsWith("loading ")) yield { loading: event.comment.slice("loading ".length) };
    return;
  }
  const chunk = JSON.parse(event.data);
  if (chunk.error) throw problem(chunk.error, 500);
  const choice = chunk.choices[0];
  if (choice?.delta?.content) yield { text: choice.delta.content };
  if (chunk.avengers) yield { info: chunk.avengers, finish: choice.finish_reason };
  if (chunk.usage) yield { usage: chunk.usage };
}

function broken() {
  return new Problem("The connection broke before the answer was complete.", "broken");
}

/**
 * @param {{message?: string, code?: string}} error
 * @param {number} status
 */
function problem(error, status) {
  return new Problem(error.message ?? `The server answered with status ${status}`, error.code ?? "", status);
}
