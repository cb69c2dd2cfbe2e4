// Elements and words. Text is always set as text: prompts and names come from anybody.

/** An element with these properties and children; `class`, `role`, `aria-…` and `data-…` are set as attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name.includes("-") || !(name in made)) made.setAttribute(name, value === true ? "" : value);
    else made[name] = value;
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

export const byId = id => document.getElementById(id);

/** Sets a text only where it differs, so that screen readers and layouts are left alone otherwise. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A span of time for people: `0.4 s`, `12 s`, `3 min 20 s`. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (Math.abs(seconds) < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(Math.abs(seconds)), sign = seconds < 0 ? "−" : "";
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${sign}${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** How late something is, with the words that say whether it counts. What would be shown as 0.0 s is on time. */
export function lateness(seconds) {
  return isLate(seconds) ? `${duration(seconds)} late` : "on time";
}

export const isLate = seconds => seconds >= 0.05;

/** Places a card that is fixed in the window beside something: below it, or above where there is no room below. */
export function beside(card, { left, top, above }) {
  const { offsetWidth: width, offsetHeight: height } = card;
  const below = top + height + 8 < innerHeight;
  card.style.left = `${Math.max(8, Math.min(left - width / 2, document.documentElement.clientWidth - width - 8))}px`;
  card.style.top = `${below ? top + 6 : Math.max(8, top - above - height - 6)}px`;
}

/** Has a dialog close by its button and by a click beside it. */
export function closable(dialog) {
  dialog.querySelector("button.close").onclick = () => dialog.close();
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
}

export const percent = share => (Number.isFinite(share) ? `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)} %` : "–");
export const number = (value, digits = 1) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
export const clock = milliseconds => new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
export const words = { linear: "linear", quadratic: "quadratic", square_root: "square root" };
