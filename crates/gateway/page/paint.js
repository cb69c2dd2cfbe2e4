// How a bar looks. What matters is said by shape as well as by colour: what is past its due time is hatched, a load is
// dotted, what has failed is crossed out.

import { isLate } from "./dom.js";

const NAMES = ["ink", "quiet", "line", "stripe", "panel", "running", "rest", "waiting", "done", "late", "failed", "on-running", "on-rest", "on-done", "on-late", "focus"];

/** The colours of the page's style, with patterns made of them. */
export class Palette {
  constructor(context) {
    const style = getComputedStyle(document.documentElement);
    for (const name of NAMES) this[name.replace(/-./, part => part[1].toUpperCase())] = style.getPropertyValue(`--${name}`).trim();
    this.hatch = hatched(context, this.late, this.onLate);
    this.dots = dotted(context, this.waiting, this.ink);
    this.others = hatched(context, "transparent", this.line);
    this.font = style.getPropertyValue("--small").trim() || "12px system-ui, sans-serif";
  }
}

function tile(context, size, draw) {
  const made = document.createElement("canvas");
  made.width = made.height = size;
  draw(made.getContext("2d"));
  return context.createPattern(made, "repeat");
}

function hatched(context, ground, stroke) {
  return tile(context, 8, pen => {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 8, 8);
    pen.globalAlpha = 0.45;
    pen.strokeStyle = stroke;
    pen.lineWidth = 1.5;
    for (const x of [-8, 0, 8]) { pen.moveTo(x, 8); pen.lineTo(x + 8, 0); }
    pen.stroke();
  });
}

function dotted(context, ground, ink) {
  return tile(context, 5, pen => {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 5, 5);
    pen.globalAlpha = 0.55;
    pen.fillStyle = ink;
    pen.fillRect(1, 1, 1.5, 1.5);
  });
}

/** Whether a bar ends late, or is expected to. */
export const endsLate = bar => isLate((bar.to - bar.due) / 1000);

/** Paints one bar. `x` turns a time into a place; the bar stands between `top` and `top + height`. */
export function paintBar(pen, colours, bar, phase, x, now, top, height) {
  // A pixel is left free between one bar and the next.
  const left = x(bar.from), right = Math.max(x(bar.to) - 1, left + 1.5), width = right - left;
  const due = Math.min(Math.max(x(bar.due), left), right);
  const done = phase === "completed" || phase === "failed";
  let ink = colours.onRest;
  if (phase === "running") {
    pen.fillStyle = colours.rest;
    pen.fillRect(left, top, width, height);
    const reached = bar.progress === undefined ? Math.min(x(now), right) : left + bar.progress * width;
    pen.fillStyle = colours.running;
    pen.fillRect(left, top, Math.max(reached - left, 0), height);
    if (reached > left + width / 2) ink = colours.onRunning;
  } else {
    pen.fillStyle = done ? colours.done : colours.waiting;
    pen.fillRect(left, top, width, height);
    if (done) ink = colours.onDone;
  }
  const load = bar.load > 0 ? Math.min(x(bar.from + 1000 * bar.load), right) : left;
  if (load > left + 1) {
    pen.fillStyle = colours.dots;
    pen.fillRect(left, top, load - left, height);
  }
  // What stands past the due time.
  if (right > due + 0.5 && endsLate(bar)) {
    pen.fillStyle = colours.hatch;
    const from = done || phase === "running" ? due : Math.max(due, load);
    const thick = done ? height : Math.ceil(height / 3);
    pen.fillRect(from, top + height - thick, right - from, thick);
    if (done && from - left < width / 2) ink = colours.onLate;
  }
  if (phase === "failed") cross(pen, colours, left, top, width, height);
  if (phase === "waiting" || bar.own) {
    pen.strokeStyle = bar.own ? colours.ink : colours.quiet;
    pen.lineWidth = bar.own ? 1.5 : 1;
    pen.strokeRect(left + 0.5, top + 0.5, Math.max(width - 1, 0.5), height - 1);
  }
  if (height >= 11) label(pen, bar, phase, ink, load, right - load, top + height / 2);
}

function label(pen, bar, phase, ink, left, width, middle) {
  const steps = bar.steps === undefined ? "" : `${bar.steps}`;
  const late = phase === "completed" && isLate(bar.tardiness) ? ` +${bar.tardiness.toFixed(1)} s` : "";
  // Digits are seven pixels wide.
  const text = [steps + late, steps].find(text => text && 7 * text.length + 4 <= width);
  if (!text) return;
  pen.fillStyle = ink;
  pen.fillText(text, left + width / 2, middle + 0.5);
}

function cross(pen, colours, left, top, width, height) {
  const side = Math.min(width, height) - 4, x = left + (width - side) / 2, y = top + 2;
  pen.strokeStyle = colours.failed;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, y); pen.lineTo(x + side, y + side);
  pen.moveTo(x + side, y); pen.lineTo(x, y + side);
  pen.stroke();
}

/** The due time of a bar, with a thread to its end: how much time there is left, or how much too late it is. */
export function paintDue(pen, colours, bar, x, top, height) {
  const due = x(bar.due), end = x(bar.to), late = endsLate(bar);
  pen.strokeStyle = pen.fillStyle = late ? colours.late : colours.quiet;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(end, top + height + 1);
  pen.lineTo(end, top + height / 2);
  pen.lineTo(due, top + height / 2);
  pen.stroke();
  pen.beginPath();
  if (late) { pen.moveTo(due - 4, top); pen.lineTo(due + 4, top); pen.lineTo(due, top + height); } else { pen.rect(due - 1, top, 2, height); }
  pen.fill();
}
