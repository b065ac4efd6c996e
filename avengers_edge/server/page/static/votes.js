/** How an answer came about: the quiet line under it, and what opens there. */

import { node } from "./tree.js";

const BY_RECORD = "Votes weigh by how often each way of asking is right on such questions.";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {import("./server.js").Info} Info */
/** @typedef {import("./asking.js").Turn} Turn */

/**
 * Write the quiet line: who answered, votes, samples, seconds.
 *
 * @param {Info} info
 */
export function lineOf(info) {
  const cast = info.votes.reduce((sum, vote) => sum + vote.count, 0);
  const one = info.samples_requested === 1;
  return [
    info.models.join(", "),
    ...(cast && !one ? [`${info.votes[0].count} of ${cast} votes`] : []),
    ...(typeof info.confidence === "number" ? [`${Math.round(100 * info.confidence)} % sure`] : []),
    one ? "1 sample" : `${info.samples_used} of ${info.samples_requested} samples`,
    `${seconds(info).toFixed(1)}\u00a0s`,
  ].join(" · ");
}

/** @param {Info} info */
function seconds(info) {
  const times = info.timings_ms;
  return (times.total ?? times.prefill + times.decode) / 1000;
}

/**
 * Show what opens under the line: the votes, why this model, what it took.
 *
 * @param {Turn} turn
 * @param {Info} info
 * @returns {Tree[]}
 */
export function whyOf(turn, info) {
  return [votesOf(info), routeOf(turn, info), costOf(turn, info)];
}

/**
 * @param {Info} info
 * @returns {Tree}
 */
function votesOf(info) {
  if (info.samples_requested === 1) return part("Votes", note("One sample: there was nothing to vote on."));
  if (!info.votes.length) {
    return part("Votes", note("No vote: such answers cannot be counted, and the most central one is shown."));
  }
  const cast = info.votes.reduce((sum, vote) => sum + vote.count, 0);
  const weight = info.votes.reduce((sum, vote) => sum + vote.weight, 0);
  const bars = info.votes.map((vote, place) =>
    bar(vote.key, vote.weight / weight, vote.count === 1 ? "1 vote" : `${vote.count} votes`, place === 0),
  );
  const letters = info.votes.some((vote) => vote.count === 0);
  const weighed = info.votes.some((vote) => vote.weight !== vote.count);
  const early = info.stopped_early && info.samples_used < info.samples_requested;
  const left = info.samples_requested - info.samples_used;
  const others = left === 1 ? "the last sample" : `the other ${left}`;
  const saved = info.saved_tokens ? `, which saved about ${info.saved_tokens} tokens` : "";
  const notes = [
    ...(weighed ? [note(letters ? "Weights are the options' mean probabilities over all their orders." : BY_RECORD)] : []),
    ...(early ? [note(`Sampling ended early: ${others} could not have changed the answer${saved}.`)] : []),
    ...(info.samples_used > cast ? [note(`${info.samples_used - cast} samples had no answer to count.`)] : []),
    ...(info.corrected ? [note("The first sample was shown while the vote ran; the vote elected another text.")] : []),
  ];
  return part("Votes", list("bars", bars), ...notes);
}

/**
 * @param {Turn} turn
 * @param {Info} info
 * @returns {Tree}
 */
function routeOf(turn, info) {
  const { route } = info;
  if (!route) return part("Why this model", note("You chose it, so nothing was compared."));
  const most = Math.max(1, ...route.ranking.map((each) => each.score));
  const bars = route.ranking.map(({ model, score }) =>
    bar(model, score / most, score.toFixed(2), info.models.includes(model)),
  );
  const found = route.cluster !== null && [
    `The nearest kind of question is cluster ${route.cluster}`,
    ...(route.similarity === null ? [] : [`similarity ${route.similarity.toFixed(2)}`]),
    ...(route.ranking.length > 1 ? [`lead ${route.margin.toFixed(2)}`] : []),
  ];
  const scores =
    turn.prefer < 1
      ? `Scores weigh accuracy (${turn.prefer.toFixed(1)}) against speed.`
      : "Scores are how often each is expected to be right there.";
  return part(
    "Why this model",
    ...(found ? [note(`${found.join(", ")}. ${scores}`)] : []),
    list("bars", bars),
    ...(route.fallback ? [note(`Not by the ranking alone: ${route.fallback}.`)] : []),
  );
}

/**
 * @param {Turn} turn
 * @param {Info} info
 * @returns {Tree}
 */
function costOf(turn, info) {
  const times = info.timings_ms;
  const steps = ["embed", "route", "load", "prefill", "decode"].filter((step) => times[step] >= 1);
  const rows = [
    ...(turn.tokens ? [["tokens written", String(turn.tokens)]] : []),
    ...steps.map((step) => [step, `${(times[step] / 1000).toFixed(times[step] < 100 ? 3 : 2)} s`]),
  ];
  const cells = rows.map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value)));
  return part("Cost", node("dl", {}, ...cells));
}

/**
 * Name a sample in one line.
 *
 * @param {NonNullable<Info["samples"]>[number]} sample
 * @param {number} place
 * @param {boolean} several whether several models answered
 */
export function sampleLine(sample, place, several) {
  const how = { length: "cut at the token limit", cancelled: "not finished" }[sample.finish_reason];
  const why = sample.failure ? `no vote: ${sample.failure}` : "no vote";
  const vote = sample.key === null ? why : `votes ${sample.key}`;
  const model = several ? [sample.model] : [];
  return [`Sample ${place + 1}`, vote, ...model, `${sample.tokens} tokens`, ...(how ? [how] : [])].join(" · ");
}

/**
 * @param {string} title
 * @param {Tree[]} children
 */
function part(title, ...children) {
  return node("section", { "aria-label": title }, node("h3", {}, title), ...children);
}

/** @param {string} text */
function note(text) {
  return node("p", { class: "note" }, text);
}

/**
 * @param {string} kind
 * @param {Tree[]} items
 */
function list(kind, items) {
  return node("ul", { class: kind, role: "list" }, ...items);
}

/**
 * @param {string} name
 * @param {number} share of the full length
 * @param {string} value
 * @param {boolean} won
 */
function bar(name, share, value, won) {
  return node(
    "li",
    won ? { class: "won" } : {},
    node("span", { class: "name" }, name),
    node("span", { class: "bar", "aria-hidden": "true", share: share.toFixed(4) }),
    node("span", { class: "value" }, value),
  );
}
