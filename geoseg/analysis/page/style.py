"""How does a report look? Fonts that every system has, numbers in line, pages of A4."""

from __future__ import annotations

STYLE = """
:root { --ink: #1c1f23; --soft: #5b616a; --line: #d9d7d0; --alarm: #a4161a; }
* { box-sizing: border-box; }
html { color: var(--ink); background: #fff; font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif;
  -webkit-text-size-adjust: 100%; }
body { margin: 0; }
main { max-width: 54rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1, h2 { font-family: Charter, "Bitstream Charter", "Iowan Old Style", Cambria, Georgia,
  "Noto Serif", "Liberation Serif", "DejaVu Serif", serif; font-weight: 600; line-height: 1.2;
  text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 2.3rem; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.4rem; margin: 3rem 0 .8rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p { margin: 0 0 1rem; max-width: 44rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; color: var(--soft); margin-bottom: 1.8rem; }
.note { color: var(--soft); font-size: .875rem; }
time { white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: 1rem 2rem; margin: 0 0 2rem; padding: 1rem 0;
  border-top: 2px solid var(--ink); border-bottom: 1px solid var(--line); }
.key div { display: flex; flex: 1 1 7rem; max-width: 14rem;
  flex-direction: column-reverse; justify-content: flex-end; }
.key dt { color: var(--soft); font-size: .875rem; }
.key dd { margin: 0; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.key .unit { font-size: 1rem; }
figure { margin: 0 0 1rem; }
figure img { display: block; max-width: 100%; max-height: 52rem; }
figcaption { margin-top: .5rem; color: var(--soft); font-size: .875rem; max-width: 44rem; }
.table { overflow-x: auto; margin: 1.5rem 0; }
.table:focus-visible { outline: 2px solid #2b7bba; outline-offset: 4px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; line-height: 1.4;
  border-bottom: 1.5px solid var(--ink); }
caption { text-align: left; font-weight: 600; padding: 0 0 .5rem; font-size: .95rem; }
th, td { padding: .38rem .6rem; vertical-align: baseline; text-align: left; font-weight: 400;
  unicode-bidi: isolate; overflow-wrap: anywhere; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
th[scope="row"] { min-width: 7rem; }
thead th { vertical-align: bottom; font-weight: 600; border-top: 1.5px solid var(--ink);
  border-bottom: 1px solid var(--ink); overflow-wrap: break-word; }
tbody tr + tr > * { border-top: 1px solid #eceae4; }
tfoot > tr > * { border-top: 1px solid var(--ink); font-weight: 600; }
.unit { color: var(--soft); font-weight: 400; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums lining-nums; }
td.number { white-space: nowrap; }
.swatch { margin-right: .55rem; vertical-align: -2px; flex: none; }
td:has(.bar) { vertical-align: middle; }
.bar { display: block; width: 100%; min-width: 6rem; height: .6rem; }
.warning { border-left: .4rem solid var(--alarm); padding-left: .8rem; }
.alarm { border: 2px solid var(--alarm); border-left-width: .6rem; padding: 1.1rem 1.3rem .4rem;
  margin: 0 0 2rem; border-radius: 3px; }
.alarm h2 { border: 0; padding: 0; margin: 0 0 .5rem; color: var(--alarm); font-size: 1.25rem; }
.facts th { width: 12rem; color: var(--soft); }
.facts thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
.facts table { border-top: 1.5px solid var(--ink); }
.alarm tbody th { white-space: nowrap; }
ol.sources { padding-left: 1.2rem; font-size: .9rem; max-width: 44rem; }
ol.sources li { margin-bottom: .4rem; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: .8rem; }
@page { size: A4; margin: 18mm 17mm 20mm;
  @bottom-right { content: counter(page) " / " counter(pages);
    font: 8.5pt system-ui, "Liberation Sans", sans-serif; color: #5b616a; } }
@media print {
  html { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 22pt; }
  h2 { margin-top: 1.8rem; break-after: avoid; }
  section > p:not(.note) { break-after: avoid; }
  .table { overflow: visible; margin: 1rem 0; }
  thead { display: table-header-group; }
  tfoot { display: table-row-group; }
  tr, figure, .short, .alarm, .key, li { break-inside: avoid; }
  .facts .short { break-inside: auto; }
  tbody tr:nth-child(-n+3) { break-before: avoid; }
  caption { break-after: avoid; }
  p { orphans: 3; widows: 3; }
  .table + .note { break-before: avoid; }
  figure img { max-height: 165mm; }
}
"""
