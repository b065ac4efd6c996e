// Laws of the page's scripts that need no browser; run beside them by test_server_page.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isTeam, redrawn, requestOf, turnOf, USUAL } from "./asking.js";
import { highlight } from "./highlight.js";
import { markdown } from "./markdown.js";
import { math } from "./math.js";
import { Problem, wordsOf } from "./problems.js";
import { progressOf, Server } from "./server.js";
import { EventReader } from "./sse.js";
import { safe, textOf } from "./tree.js";
import { lineOf, sampleLine, whyOf } from "./votes.js";

const shown = (tree) => {
  if (typeof tree === "string") return tree.replaceAll("<", "‹").replaceAll(">", "›");
  if ("code" in tree) return `<code-block ${tree.language}>${tree.code}</code-block>`;
  const { rel, target, ...attrs } = tree.attrs;
  const said = Object.entries(attrs).map(([name, value]) => ` ${name}=${value}`);
  return `<${tree.tag}${said.join("")}>${tree.children.map(shown).join("")}</${tree.tag}>`;
};
const html = (text) => markdown(text).map(shown).join("\n").replaceAll("<br></br>", "<br>").replaceAll("<hr></hr>", "<hr>");
const walk = function* (trees) {
  for (const tree of trees) {
    yield tree;
    if (tree.children) yield* walk(tree.children);
  }
};

// --- Markdown --------------------------------------------------------------------------------------------------------

const CASES = {
  paragraphs: ["one\n\ntwo", "<p>one</p>\n<p>two</p>"],
  "lines end where they end": ["one\ntwo  \nthree", "<p>one<br>two<br>three</p>"],
  "headings stand under the page's own": ["# a\n## *b* ##\n#### d\n#no", "<h3>a</h3>\n<h4><em>b</em></h4>\n<h6>d</h6>\n<p>#no</p>"],
  emphasis: ["*a* **b** ***c*** _d_ __e__ ~~f~~", "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong> <del>f</del></p>"],
  "emphasis in emphasis": ["*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"],
  "no emphasis": ["2 * 3*4*5 snake_case_name **open ~5~", "<p>2 * 3*4*5 snake_case_name **open ~5~</p>"],
  "emphasis at brackets": ["(*a*) **b:**c", "<p>(<em>a</em>) <strong>b:</strong>c</p>"],
  code: ["`a` ``b ` c`` `open", "<p><code>a</code> <code>b ` c</code> `open</p>"],
  "emphasis ends at code": ["*a `b*` c*", "<p><em>a <code>b*</code> c</em></p>"],
  escapes: ["\\*a\\* \\` \\q", "<p>*a* ` \\q</p>"],
  "a fence": ["```py\na < b\n\n  c\n```\nafter", "<code-block py>a < b\n\n  c</code-block>\n<p>after</p>"],
  "a fence that is still open": ["text\n~~~\na\n```", "<p>text</p>\n<code-block >a\n```</code-block>"],
  "indented code": ["    a\n\n    b\n\nc", "<code-block >a\n\nb</code-block>\n<p>c</p>"],
  "a list": ["- a\n- b", "<ul><li>a</li><li>b</li></ul>"],
  "lists in lists": ["1. a\n   - b\n     - c\n2. d", "<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ol>"],
  "lists that are indented too little": ["1. a\n - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"],
  "a list after a line": ["Steps:\n- a\n- b\nlazy", "<p>Steps:</p>\n<ul><li>a</li><li>b<br>lazy</li></ul>"],
  "a list with room": ["- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
  "code in an item": ["- a\n  ```\n  x\n\n  y\n  ```\n- b", "<ul><li>a<code-block >x\n\ny</code-block></li><li>b</li></ul>"],
  "a list goes on after code": ["1. a\n```\nx\n```\n2. b", "<ol><li>a</li></ol>\n<code-block >x</code-block>\n<ol start=2><li>b</li></ol>"],
  "a year is no list": ["It was in\n1986. Then", "<p>It was in<br>1986. Then</p>"],
  tasks: ["- [ ] a\n- [x] b", "<ul><li>☐ a</li><li>☑ b</li></ul>"],
  "a quote": ["> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"],
  rules: ["a\n\n---\n* * *", "<p>a</p>\n<hr>\n<hr>"],
  "HTML is text": ["<b onclick=x>a</b>\n\n<script>1</script>", "<p>‹b onclick=x›a‹/b›</p>\n<p>‹script›1‹/script›</p>"],
  links: ["[a *b*](https://x.org/c_(d) \"t\")", "<p><a href=https://x.org/c_(d)>a <em>b</em></a></p>"],
  "addresses that stand there": ["https://x.org/a). (http://y.org/b_(c)), <mailto:a@b.org>", "<p><a href=https://x.org/a>https://x.org/a</a>). (<a href=http://y.org/b_(c)>http://y.org/b_(c)</a>), <a href=mailto:a@b.org>a@b.org</a></p>"],
  "images are not loaded": ["![a](https://x.org/i.png)", "<p><a href=https://x.org/i.png>a</a></p>"],
  "other schemes are text": ["[a](javascript:alert(1)) [b](data:text/html,x) [c](/v1/models) [d](file:///etc)", "<p>[a](javascript:alert(1)) [b](data:text/html,x) [c](/v1/models) [d](file:///etc)</p>"],
  "a formula in which another begins is none": ["\\[\na\n\\[\nb\n\\]", "<p>[<br>a</p>\n<div class=display><math display=block><mrow><mi>b</mi></mrow></math></div>"],
  "a price is no formula": ["It costs $5 and $10.", "<p>It costs $5 and $10.</p>"],
};
for (const [law, [text, wanted]] of Object.entries(CASES)) test(`Markdown: ${law}`, () => assert.equal(html(text), wanted));

test("Markdown: a table has sides, code and as many cells as its head", () => {
  const [box] = markdown("| a | b |\n|---|--:|\n| `x\\|y` | 1 | 2 |\n| z\n\nend");
  const cells = [...walk([box])].filter((tree) => tree.tag === "td" || tree.tag === "th");
  assert.deepEqual(cells.map((cell) => [textOf(cell.children), cell.attrs.class ?? ""]), [
    ["a", ""], ["b", "right"], ["x|y", ""], ["1", "right"], ["z", ""], ["", "right"],
  ]);
});

test("Markdown: a few letters do not become thousands of cells", () => {
  const table = (columns, rows) => `${"|a".repeat(columns)}\n${"|-".repeat(columns)}\n${"|\n".repeat(rows)}`;
  const cellsOf = (text) => [...walk(markdown(text))].filter((tree) => tree.tag === "td" || tree.tag === "th").length;
  assert.equal(cellsOf(table(9, 50)), 9 * 51);
  assert.ok(cellsOf(table(100, 1000)) < 10_000);
  assert.ok(cellsOf(table(1000, 100)) < 2_000);
});

/** A generator of pseudo-random numbers (mulberry32), so that a failure can be seen again. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const BITS = ["*", "**", "_", "`", "```", "\n", "\n\n", "- ", "1. ", "> ", "|", "|-|-|", "# ", "[", "](", ")", "<b>", "<", "&amp;",
  "javascript:x", "https://a.b", "\\", "\\(", "\\)", "\\[", "\\]", "$", "$$", "\\frac", "{", "}", "^", "  ", "    ", "\t", "word", "7", "é",
  "\u202e", "~~", "!", "---"];

test("Markdown: whatever is written becomes known elements, safe links and all of its words", () => {
  const next = random(7);
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: 1 + next() * 30 }, () => BITS[Math.floor(next() * BITS.length)]).join("");
    const trees = markdown(text);
    for (const tree of walk(trees)) {
      if (typeof tree === "string" || "code" in tree) continue;
      assert.match(tree.tag, /^(p|h[3-6]|[uo]l|li|blockquote|code|em|strong|del|a|br|hr|div|t(able|head|body|r|h|d)|math|m[a-z]+)$/);
      if (tree.attrs.href) assert.match(tree.attrs.href, /^(https?:|mailto:)/);
    }
    const words = (said) => (said.match(/word/g) ?? []).length;
    const hidden = (text.match(/```[^\n]*word/g) ?? []).length; // a fence's language is not text
    if (!hidden && !text.includes("](")) assert.equal(words(textOf(trees)), words(text), JSON.stringify(text));
  }
});

test("Markdown: a text that grows shows what it showed before, up to the block that is written", () => {
  const text = "# a\n\nOne **two**\n\n- x\n- y\n\n```py\nz\n```\n\nEnd";
  const whole = markdown(text).map(shown);
  for (let length = 1; length < text.length; length += 1) {
    const part = markdown(text.slice(0, length)).map(shown);
    assert.deepEqual(part.slice(0, -1), whole.slice(0, part.length - 1));
  }
});

test("Markdown: no text is nested without end; one of these that took quadratic time would not end here", () => {
  const texts = ["*a", "*a* ", "[", "[a](", "> ", "- ", "`", "``` ", "\\[\n", "\\( ", "$a ", "|a", "<a", "*_a", "_*", "http://a)", "```\n\n", "\\frac{"];
  for (const text of texts) {
    const many = text.repeat(16_000 / text.length);
    for (const whole of [many, `${many}${[...many].reverse().join("")}`, many.replaceAll(" ", "\n")]) {
      const depth = (trees) => trees.reduce((most, tree) => Math.max(most, tree.children ? 1 + depth(tree.children) : 0), 0);
      assert.ok(depth(markdown(whole)) < 300, text);
    }
  }
});

test("Markdown: no text takes quadratic time", () => {
  const many = (text) => text.repeat(150_000 / text.length);
  const gap = many(" ");
  const texts = [`\`\`\`${gap}\``, `${many("~")}\``, `-${gap}\u2028`, `- a\n  \`\`\`\n${many("  x\n\n")}  \`\`\`\n`];
  for (const text of texts) {
    const before = process.cpuUsage();
    markdown(text);
    const took = process.cpuUsage(before).user / 1e6;
    assert.ok(took < 5, `${JSON.stringify(text.slice(0, 12))} took ${took} s`); // quadratic time is a minute
  }
});

test("links are to the web and to mail, whatever their letters are", () => {
  for (const bad of ["javascript:x", "JaVaScRiPt:x", " javascript:x", "data:x", "vbscript:x", "//x.org", "x.org", "", "blob:x", "https://"]) {
    assert.equal(safe(bad), null, bad);
  }
  assert.equal(safe("HTTPS://X.org"), "https://x.org/");
});

// --- formulas and code -----------------------------------------------------------------------------------------------

const FORMULAS = {
  "\\frac{1}{2}": "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>",
  "x_1^2": "<msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup>",
  "\\sqrt[3]{x}": "<mroot><mrow><mi>x</mi></mrow><mrow><mn>3</mn></mrow></mroot>",
  "2 \\times 3 - 4": "<mn>2</mn><mo>×</mo><mn>3</mn><mo>−</mo><mn>4</mn>",
  "\\text{ km}": "<mtext>\u00a0km</mtext>",
  "\\boxed{80}": "<mrow class=boxed><mrow><mn>80</mn></mrow></mrow>",
  "5\\%": "<mn>5</mn><mo>%</mo>",
};
for (const [text, wanted] of Object.entries(FORMULAS)) {
  test(`a formula: ${text}`, () => assert.equal(shown(math(text, false)), `<math display=inline><mrow>${wanted}</mrow></math>`));
}

test("aligned lines are a table, and a formula that is not understood is shown as it was written", () => {
  const table = shown(math("\\begin{aligned} a &= 1 \\\\ b &= 2 \\end{aligned}", true));
  assert.equal(table.match(/<mtr>/g).length, 2);
  assert.equal(table.match(/<mtd>/g).length, 4);
  for (const odd of ["\\unknown{x}", "{", "}", "\\frac{1}", "a & b", "\\begin{tikz}", "x^", "\\text{a", "{".repeat(99) + "}".repeat(99),
    ...["hat", "sqrt", "frac1", "mathbf"].map((name) => `\\${name}`.repeat(9999) + " x"),
    ...["constructor", "__proto__"].map((name) => `\\begin{${name}}x\\end{${name}}`)]) {
    assert.equal(shown(math(odd, false)), `<code class=formula>${odd}</code>`);
  }
});

test("coloured code is the same code", () => {
  const codes = ["def f():\n    '''d'''\n    return 'a' + \"b\" # c", "let x = `${1}`; // y\n/* z", "SELECT 'a' -- b", "<!-- a --><b c=\"d\">", "it's", "'\\", '"""'];
  for (const language of ["python", "js", "sql", "html", "sh", "rust", "lua", "css", "none", ""]) {
    for (const code of codes) assert.equal(textOf(highlight(code, language)), code);
  }
  const kinds = highlight("return 'a' + 12 # b", "py").filter((tree) => tree.tag).map((tree) => [tree.attrs.class, tree.children[0]]);
  assert.deepEqual(kinds, [["hl-keyword", "return"], ["hl-string", "'a'"], ["hl-number", "12"], ["hl-comment", "# b"]]);
});

// --- events ----------------------------------------------------------------------------------------------------------

test("events are the same, wherever the bytes are cut", () => {
  const text = ': voting 1 of 3\n\ndata: {"a": "é😀"}\n\ndata: one\r\ndata:two\r\n\r\nid: 5\n\ndata: [DONE]\n\n';
  const bytes = new TextEncoder().encode(text);
  const wanted = [{ comment: "voting 1 of 3" }, { data: '{"a": "é😀"}' }, { data: "one\ntwo" }, { data: "[DONE]" }];
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const reader = new EventReader();
    assert.deepEqual([...reader.push(bytes.slice(0, cut)), ...reader.push(bytes.slice(cut))], wanted);
  }
  const reader = new EventReader();
  assert.deepEqual([...bytes].flatMap((byte) => reader.push(Uint8Array.of(byte))), wanted);
});

test("a comment tells of a vote, whatever the leading answer is", () => {
  assert.deepEqual(progressOf("voting 0 of 8, asking big:think"), { finished: 0, samples: 8, asking: "big:think", count: 0, leader: "" });
  assert.deepEqual(progressOf("voting 3 of 8, asking big, leading with 2: a, leading with 9: b"), {
    ...{ finished: 3, samples: 8, asking: "big", count: 2, leader: "a, leading with 9: b" },
  });
  assert.equal(progressOf("at work"), null);
});

/** Answers one request of a `Server` with bytes. */
async function told(body, status = 200) {
  const usual = globalThis.fetch;
  globalThis.fetch = async (path, { headers }) => {
    told.sent = { path, headers };
    return new Response(body, { status });
  };
  try {
    const all = [];
    for await (const each of new Server(() => "secret").chat({}, new AbortController().signal)) all.push(each);
    return all;
  } finally {
    globalThis.fetch = usual;
  }
}

test("an answer's events are its text, its progress, how it came about and what it cost", async () => {
  const chunk = (values) => `data: ${JSON.stringify(values)}\n\n`;
  const info = { model: "big" };
  const all = await told(
    ": voting 1 of 3, asking big\n\n: at work\n\n" +
      chunk({ choices: [{ delta: { role: "assistant", content: "" } }], usage: null }) +
      chunk({ choices: [{ delta: { content: "Hi" } }] }) +
      chunk({ choices: [{ delta: {}, finish_reason: "stop" }], avengers: info }) +
      chunk({ choices: [], usage: { completion_tokens: 4 } }) +
      "data: [DONE]\n\n",
  );
  const progress = { finished: 1, samples: 3, asking: "big", count: 0, leader: "" };
  assert.deepEqual(all, [{ progress }, { text: "Hi" }, { info, finish: "stop" }, { usage: { completion_tokens: 4 } }]);
  assert.equal(told.sent.headers.Authorization, "Bearer secret");
});

test("a stream that ends too soon, or with an error, is a problem with its code", async () => {
  const coded = (code) => (error) => error instanceof Problem && error.code === code;
  await assert.rejects(told(": at work\n\n"), coded("broken"));
  await assert.rejects(told('data: {"error": {"message": "died", "code": "engine_died"}}\n\n'), coded("engine_died"));
  await assert.rejects(told('{"error": {"message": "who?", "code": "invalid_api_key"}}', 401), coded("invalid_api_key"));
  await assert.rejects(told("<html>", 502), (error) => error.status === 502 && error.message.includes("502"));
});

test("every problem has words, and those that can be mended a way", () => {
  const said = wordsOf(new Problem("the prompt has 9 tokens", "does_not_fit", 413));
  assert.equal(said.message, "The prompt has 9 tokens.");
  assert.equal(said.cure, "new");
  assert.equal(wordsOf(new Problem("", "", 500)).cure, "again");
  assert.equal(wordsOf(new Problem("temperature is 3", "invalid_value", 400)).cure, "");
  assert.match(wordsOf(new TypeError("x")).message, /page failed/);
});

// --- what is asked ---------------------------------------------------------------------------------------------------

const done = (question, text) => ({ ...turnOf(question), text, state: "done" });

test("a request carries what was said, without turns that have no answer", () => {
  const before = [done("a", "1"), done("b", ""), { ...turnOf("c"), text: "half", state: "stopped" }];
  const body = requestOf(before, "d", { ...USUAL, system: " Be brief. " });
  assert.deepEqual(body.messages.map((each) => `${each.role}: ${each.content}`), [
    ...["system: Be brief.", "user: a", "assistant: 1", "user: c", "assistant: half", "user: d"],
  ]);
  assert.deepEqual(body.avengers, { texts: true });
  assert.equal(body.max_tokens, undefined);
});

test("only what was set is sent, and a single model is asked without a vote's knobs", () => {
  const set = { ...USUAL, samples: 5, prefer: 0.3, tokens: 99, first: true };
  const body = requestOf([], "a", set);
  assert.deepEqual(body.avengers, { texts: true, samples: 5, prefer: 0.3, stream: "first" });
  assert.equal(body.max_tokens, 99);
  assert.equal(requestOf([], "a", { ...set, model: "big", samples: null }).avengers, undefined);
  assert.deepEqual(requestOf([], "a", { ...set, model: "big" }).avengers, { texts: true, samples: 5, stream: "first" });
  assert.deepEqual(["avengers", "avengers/x", "avengers2", "big"].map(isTeam), [true, true, false, false]);
});

test("a single answer is drawn anew, a vote is held as it was", () => {
  const got = (samples) => ({ ...turnOf("a"), info: { samples_requested: samples } });
  assert.equal(redrawn(got(1), USUAL).samples, 1);
  assert.equal(redrawn(got(8), USUAL).samples, null);
  assert.equal(redrawn(turnOf("a"), USUAL).samples, null);
  assert.equal(redrawn({ ...turnOf("a"), text: "stop", state: "stopped" }, USUAL).samples, 1);
  assert.equal(redrawn({ ...turnOf("a"), text: "stop", state: "stopped" }, { ...USUAL, first: true }).samples, null);
  assert.equal(redrawn(got(1), { ...USUAL, samples: 5 }).samples, 5);
  assert.equal(redrawn(got(1), { ...USUAL, model: "big" }).samples, null);
});

// --- how an answer came about ----------------------------------------------------------------------------------------

const INFO = {
  ...{ model: "big", models: ["big"], votes: [{ key: "80", count: 3, weight: 3 }, { key: "<b>", count: 1, weight: 1 }], confidence: 0.75 },
  ...{ samples_requested: 8, samples_used: 5, stopped_early: true, saved_tokens: 70, timings_ms: { total: 3210, decode: 1500 } },
  route: { cluster: 3, similarity: 0.8, ranking: [{ model: "big", score: 0.7 }, { model: "small", score: 0.35 }], margin: 0.35, fallback: null },
};

test("the quiet line says who, votes, samples, seconds", () => {
  assert.equal(lineOf(INFO), "big · 3 of 4 votes · 75 % sure · 5 of 8 samples · 3.2\u00a0s");
  const alone = { ...INFO, votes: [], confidence: null, samples_requested: 1, samples_used: 1, timings_ms: { prefill: 200, decode: 900 } };
  assert.equal(lineOf(alone), "big · 1 sample · 1.1\u00a0s");
});

test("the votes are bars of their shares, the route is bars of its scores", () => {
  const trees = whyOf(done("a", "b"), INFO);
  const bars = [...walk(trees)].filter((tree) => tree.attrs?.share).map((tree) => tree.attrs.share);
  assert.deepEqual(bars, ["0.7500", "0.2500", "0.7000", "0.3500"]);
  const text = textOf(trees);
  for (const said of ["3 votes", "1 vote", "other 3 could not", "70 tokens", "1 samples had no answer", "cluster 3", "0.70"]) {
    assert.ok(text.includes(said), said);
  }
});

test("what was not voted on or routed says so", () => {
  const alone = { ...INFO, votes: [], samples_requested: 1, samples_used: 1, route: null, stopped_early: undefined };
  assert.match(textOf(whyOf(done("a", "b"), alone)), /nothing to vote on.*nothing was compared/s);
  const fallen = { ...INFO, route: { ...INFO.route, cluster: null, similarity: null, fallback: "no table" } };
  const text = textOf(whyOf(done("a", "b"), fallen));
  assert.ok(text.includes("no table") && !text.includes("cluster"));
});

test("a sample is named by its vote, its length and how it ended", () => {
  const sample = { model: "big", text: "", key: "80", tokens: 9, finish_reason: "stop" };
  assert.equal(sampleLine(sample, 0, false), "Sample 1 · votes 80 · 9 tokens");
  assert.equal(sampleLine({ ...sample, key: null, finish_reason: "length" }, 1, true), "Sample 2 · no vote · big · 9 tokens · cut at the token limit");
});
