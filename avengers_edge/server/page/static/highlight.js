/** Colours for code: comments, strings, numbers and keywords, which most languages write in one of a few ways. */

import { node } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */

const STRING = String.raw`"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'`;
const LONG_STRING = String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)`;
const TEMPLATE = "`(?:[^`\\\\]|\\\\[\\s\\S])*`?";
const NUMBER = String.raw`\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\b`;
const WORD = String.raw`[A-Za-z_$][\w$]*`;
const SLASHES = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;

/** @param {string} words */
const words = (words) => new Set(words.split(" "));

const C_WORDS = words(
  "abstract as async await base bool boolean break byte case catch char class const constexpr continue crate " +
    "default defer delete do double dyn else enum export extends extern final finally float fn for from func " +
    "function go goto if impl implements import in instanceof int interface internal is let long loop match mod " +
    "module move mut namespace new nil null nullptr of operator override package private protected pub public " +
    "range readonly ref return select self short signed sizeof static str string struct super switch template " +
    "this throw throws trait true false try type typedef typeof u8 u32 u64 i32 i64 f64 usize undefined union " +
    "unsafe unsigned use using val var virtual void volatile when where while with yield",
);
const PYTHON_WORDS = words(
  "False None True and as assert async await break case class continue def del elif else except finally for from " +
    "global if import in is lambda match nonlocal not or pass raise return self try while with yield",
);
const SHELL_WORDS = words(
  "if then else elif fi for while until do done case esac function in return export local set unset source sudo cd " +
    "echo begin end def module require unless nil true false",
);
const SQL_WORDS = words(
  "select from where and or not null insert into values update set delete create table drop alter index view join " +
    "left right inner outer full on as group by order having limit offset union all distinct case when then else end " +
    "in is like between exists primary key foreign references default count sum avg min max asc desc with",
);
const LUA_WORDS = words(
  "and break do else elseif end false for function if in local nil not or repeat return then true until while " +
    "case class data deriving import instance let module newtype of type where",
);

/**
 * How a family of languages writes comments and strings, and its keywords.
 *
 * @typedef {{comment: string, string: string, keywords: Set<string>, fold?: boolean}} Family
 */

/** @type {[string, Family][]} */
const FAMILIES = [
  [
    "js javascript jsx ts typescript tsx mjs java c h cpp c++ cc hpp cs csharp go golang rust rs swift kotlin kt php " +
      "scala dart json jsonc json5",
    { comment: SLASHES, string: `${STRING}|${TEMPLATE}`, keywords: C_WORDS },
  ],
  ["css scss less", { comment: SLASHES, string: STRING, keywords: words("important media import from to and not") }],
  ["python py python3", { comment: "#[^\\n]*", string: `${LONG_STRING}|${STRING}`, keywords: PYTHON_WORDS }],
  [
    "bash sh shell zsh console yaml yml toml ini ruby rb perl r make makefile dockerfile elixir julia",
    { comment: "#[^\\n]*", string: `${LONG_STRING}|${STRING}`, keywords: SHELL_WORDS },
  ],
  ["sql sqlite postgresql mysql", { comment: "--[^\\n]*", string: STRING, keywords: SQL_WORDS, fold: true }],
  ["lua haskell hs elm", { comment: "--[^\\n]*", string: STRING, keywords: LUA_WORDS }],
  ["html xml svg", { comment: String.raw`<!-{2}[\s\S]*?(?:-{2}>|$)`, string: `"[^"\n]*"`, keywords: words("") }],
];

/** @type {Map<string, Family>} */
const BY_NAME = new Map(FAMILIES.flatMap(([names, family]) => names.split(" ").map((name) => [name, family])));

/**
 * Colour code; what is written in no known language stays plain.
 *
 * @param {string} code
 * @param {string} language as the fence names it
 * @returns {Tree[]}
 */
export function highlight(code, language) {
  const family = BY_NAME.get(language.toLowerCase());
  if (!family) return [code];
  const pattern = new RegExp(`(${family.comment})|(${family.string})|(${NUMBER})|(${WORD})`, "g");
  /** @type {Tree[]} */
  const trees = [];
  let at = 0;
  for (const found of code.matchAll(pattern)) {
    const [said, comment, string, number, word] = found;
    const known = word !== undefined && family.keywords.has(family.fold ? word.toLowerCase() : word);
    const kind = comment ? "comment" : string ? "string" : number ? "number" : known ? "keyword" : "";
    if (!kind) continue;
    if (found.index > at) trees.push(code.slice(at, found.index));
    trees.push(node("span", { class: `hl-${kind}` }, said));
    at = found.index + said.length;
  }
  if (at < code.length) trees.push(code.slice(at));
  return trees;
}
