//! How the classes of figures look.

/// The one style sheet of all figures: light, dark, and light again in print.
pub(crate) const SHEET: &str = "
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1a1a1a; --muted: #5c5c5c; --grid: #e4e4e4; --line: #8c8c8c;
  --grey: #7a7a7a; --orange: #d98c00; --vermillion: #d55e00; --purple: #b8578f; --green: #00855f;
  --blue: #0072b2; --sky: #3fa3dd; --olive: #857a00;
  --on-time: #9cc3e0; --late-1: #f5c26b; --late-2: #e07b24; --late-3: #a1260d; --bar-ink: #111111; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #16181c; --ink: #ececec; --muted: #a8a8a8; --grid: #30343a; --line: #70757d;
  --grey: #a0a0a0; --orange: #f0aa28; --vermillion: #f0713c; --purple: #df8cbd; --green: #22bd8f;
  --blue: #4aa5ea; --sky: #8fd0f7; --olive: #d1c53c;
  --on-time: #6d9fc4; --late-1: #e0a940; --late-2: #e87a2a; --late-3: #b8321a; --bar-ink: #0b0b0b; } }
svg.figure { font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; font-size: 12px;
  fill: var(--ink); }
.figure .paper { fill: var(--paper); }
.figure .axis { stroke: var(--line); stroke-width: 1; fill: none; }
.figure .grid { stroke: var(--grid); stroke-width: 1; }
.figure .zero { stroke: var(--line); stroke-width: 1; stroke-dasharray: 2 3; }
.figure .tick { fill: var(--muted); font-size: 11px; font-variant-numeric: tabular-nums; }
.figure .name { fill: var(--muted); font-size: 12px; }
.figure .heading { font-weight: 600; font-size: 13px; }
.figure .key { font-size: 11.5px; }
.figure .note { fill: var(--muted); font-size: 11px; }
.figure .inside { font-size: 9px; fill: var(--bar-ink); } .figure .on-dark { fill: #ffffff; }
.figure .lane { fill: var(--grid); opacity: .45; }
.figure .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.figure .level { fill: none; stroke-width: 1.4; stroke-dasharray: 5 3; }
.figure .dashed { stroke-dasharray: 6 3; }
.figure .band { stroke: none; opacity: .2; }
.figure .leader { fill: none; stroke-width: .8; opacity: .6; }
.figure .interval { stroke-width: 1.2; }
.figure .mean { stroke: var(--ink); stroke-width: 2.2; }
.figure .mark { stroke-width: 1.4; }
.figure .hollow { fill: var(--paper); }
.figure .dot { fill-opacity: .35; stroke-opacity: .6; stroke-width: 1; }
.figure .hollow.dot { fill: none; }
.figure .filled.dot { stroke: none; }
.figure .on-time { fill: var(--on-time); } .figure .late-1 { fill: var(--late-1); }
.figure .late-2 { fill: var(--late-2); } .figure .late-3 { fill: var(--late-3); }
.figure .p-grey { stroke: var(--grey); } .figure .p-grey.filled, .figure .p-grey.band { fill: var(--grey); }
.figure .p-orange { stroke: var(--orange); } .figure .p-orange.filled, .figure .p-orange.band { fill: var(--orange); }
.figure .p-vermillion { stroke: var(--vermillion); } .figure .p-vermillion.filled, .figure .p-vermillion.band { fill: var(--vermillion); }
.figure .p-purple { stroke: var(--purple); } .figure .p-purple.filled, .figure .p-purple.band { fill: var(--purple); }
.figure .p-green { stroke: var(--green); } .figure .p-green.filled, .figure .p-green.band { fill: var(--green); }
.figure .p-blue { stroke: var(--blue); } .figure .p-blue.filled, .figure .p-blue.band { fill: var(--blue); }
.figure .p-sky { stroke: var(--sky); } .figure .p-sky.filled, .figure .p-sky.band { fill: var(--sky); }
.figure .p-olive { stroke: var(--olive); } .figure .p-olive.filled, .figure .p-olive.band { fill: var(--olive); }
.figure .p-ink { stroke: var(--ink); } .figure .p-ink.filled, .figure .p-ink.band { fill: var(--ink); }
.figure .band { stroke: none; }
";
