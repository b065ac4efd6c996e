"""The page's style sheet: light, dark, narrow and printed."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6068; --paper: #ffffff; --panel: #f5f6f8; --grid: #b9bec6;
  --accent: #2f74b5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a2a8b2; --paper: #15171a; --panel: #1e2126;
  --grid: #4a505a; --accent: #74b1e8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.verdict { max-width: none; background: var(--panel); border-left: 4px solid var(--accent); padding: .75rem 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; padding: 0;
  list-style: none; }
.tiles li { background: var(--panel); padding: .6rem .8rem; border-radius: .4rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; max-width: 40rem; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1.5rem; }
.knobs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0 1.5rem; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal;
  margin: .5rem 0; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 600; }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
tbody th, thead th:first-child { text-align: left; }
tbody th { font-weight: 400; }
.best { font-weight: 700; }
blockquote { margin: .25rem 0; padding-left: .75rem; border-left: 3px solid var(--grid); font-size: .875rem; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --panel: #f2f2f2; --grid: #999;
    --accent: #2f74b5; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, table, .verdict, .tiles { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  figure svg { max-width: 14cm; }
  .wide { overflow: visible; }
}
"""
