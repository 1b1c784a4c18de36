// Every colour and size that a page may want to change is a property with a value that it falls back to.
const THEME = `
:host {
  --accent: var(--carillon-accent, light-dark(#1f5fd0, #8ab4ff));
  --on-accent: var(--carillon-on-accent, light-dark(#ffffff, #10151d));
  --surface: var(--carillon-background, light-dark(#ffffff, #1b2028));
  --raised: var(--carillon-raised, light-dark(#f3f5f9, #262c36));
  --text: var(--carillon-text, light-dark(#1d2433, #e8ebf1));
  --muted: var(--carillon-muted, light-dark(#566074, #a5afc0));
  --line: var(--carillon-border, light-dark(#d9dee7, #39414e));
  --badge: var(--carillon-badge, light-dark(#b3261e, #ff8a80));
  --on-badge: var(--carillon-on-badge, light-dark(#ffffff, #2a0805));
  --good: light-dark(#1b7f3b, #5fd38a);
  --radius: var(--carillon-radius, 12px);
  color: var(--text);
  font: var(--carillon-font, 400 15px/1.45 system-ui, sans-serif);
  text-align: start;
}
:host([theme="light"]) { color-scheme: light }
:host([theme="dark"]) { color-scheme: dark }
:host([theme="auto"]) { color-scheme: light dark }
* { box-sizing: border-box }
[hidden] { display: none !important }
button, input { font: inherit; color: inherit }
button { cursor: pointer; background: none; border: 0; border-radius: 8px }
button:disabled { cursor: default; opacity: .5 }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.quietly { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.icon { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; display: block }
.icon-back:dir(rtl) { transform: scaleX(-1) }
`;

const INBOX = `
:host { display: inline-block; position: relative }
.icon-button { display: grid; place-items: center; min-width: 36px; min-height: 36px; padding: 6px; color: var(--muted) }
.icon-button:hover { background: var(--raised); color: var(--text) }
.text-button { color: var(--accent); padding: 8px 10px; min-height: 36px; text-align: start }
.text-button:hover { background: var(--raised) }
.bell { position: relative; min-width: 44px; min-height: 44px; padding: 10px; color: inherit }
.bell .icon { width: 24px; height: 24px }
.badge {
  position: absolute; inset-block-start: 2px; inset-inline-end: 0; min-width: 20px; padding: 0 5px; border-radius: 10px;
  background: var(--badge); color: var(--on-badge); font-size: 12px; line-height: 20px; font-weight: 600; text-align: center;
}
.panel {
  position: absolute; z-index: var(--carillon-layer, 1000); inset-block-start: calc(100% + 8px); inset-inline-end: 0;
  width: var(--carillon-width, 400px); max-width: 96vw; height: var(--carillon-height, min(600px, 80vh));
  display: flex; flex-direction: column; background: var(--surface); border: 1px solid var(--line);
  border-radius: var(--radius); box-shadow: 0 8px 32px rgb(0 0 0 / .22); overflow: hidden;
}
:host([placement="start"]) .panel { inset-inline: 0 auto }
:host([placement="inline"]) { display: block }
:host([placement="inline"]) .panel { position: static; width: 100%; max-width: none; box-shadow: none }
:host([placement="inline"]) .dismiss { display: none }
@media (max-width: 520px) {
  :host(:not([placement="inline"])) .panel { position: fixed; inset: 0; width: 100%; max-width: none; height: 100%; border: 0; border-radius: 0 }
}
.view { display: flex; flex-direction: column; min-height: 0; flex: 1 }
header { display: flex; align-items: center; gap: 4px; padding: 10px 10px 4px 16px; padding-inline: 16px 10px }
h2 { font-size: 18px; line-height: 1.3; margin: 0; flex: 1; font-weight: 650 }
h3 { font-size: 15px; margin: 0 0 8px; font-weight: 650 }
.filters { display: flex; gap: 4px; padding: 4px 12px 8px; overflow-x: auto }
.filters button { padding: 6px 12px; min-height: 34px; border-radius: 17px; color: var(--muted); white-space: nowrap }
.filters button:hover { background: var(--raised) }
.filters button[aria-pressed="true"] { background: var(--accent); color: var(--on-accent) }
.state { padding: 6px 16px; font-size: 13px; background: var(--raised); color: var(--text) }
.state::before { content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 4px; margin-inline-end: 8px; background: var(--badge) }
.state.connecting::before { background: var(--muted) }
.tools { display: flex; flex-wrap: wrap; gap: 4px; padding: 0 8px; border-block-start: 1px solid var(--line) }
.scroll { flex: 1; overflow-y: auto; overscroll-behavior: contain; min-height: 0 }
ul { list-style: none; margin: 0; padding: 0 }
.item { position: relative; padding: 12px 16px; border-block-end: 1px solid var(--line); overflow-wrap: anywhere; outline-offset: -3px }
.item.unread { background: color-mix(in srgb, var(--accent) 9%, var(--surface)) }
.item.unread::before { content: ""; position: absolute; inset-block: 0; inset-inline-start: 0; width: 4px; background: var(--accent) }
.title { font-weight: 500; color: inherit; text-decoration: none; padding: 0; text-align: start; border-radius: 4px }
a.title:hover { text-decoration: underline }
.unread .title { font-weight: 650 }
.body { margin: 2px 0 0; white-space: pre-line; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden }
.meta { display: flex; flex-wrap: wrap; align-items: center; gap: 0 8px; font-size: 13px; color: var(--muted) }
.meta .spring { flex: 1 }
.urgent { color: var(--badge); font-weight: 600 }
.acts { display: flex; margin-inline-end: -8px }
.ask { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; font-size: 14px }
.empty { padding: 48px 24px; text-align: center; color: var(--muted) }
.empty .icon { width: 40px; height: 40px; margin: 0 auto 12px }
.more { display: block; width: 100%; padding: 14px; color: var(--accent) }
.problem { margin: 0; padding: 10px 16px; color: var(--badge); font-size: 14px }
.settings { padding: 8px 16px 24px }
.settings section + section { margin-block-start: 24px }
table { width: 100%; border-collapse: collapse; font-size: 14px }
th { font-weight: 500; text-align: start; padding: 6px 0 }
td, thead th { text-align: center; padding: 2px 4px }
thead th { color: var(--muted); font-size: 13px }
tbody tr { border-block-start: 1px solid var(--line) }
small { display: block; color: var(--muted); font-size: 12.5px; font-weight: 400 }
input[type="checkbox"] { width: 20px; height: 20px; accent-color: var(--accent); margin: 8px; vertical-align: middle }
input[type="time"] { padding: 6px; min-width: 0; border: 1px solid var(--line); border-radius: 8px; background: var(--surface) }
fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 0 0 12px; padding: 8px 12px }
.times { display: flex; align-items: end; gap: 8px }
.times label { display: grid; gap: 2px; flex: 1; font-size: 14px }
.muted { display: flex; align-items: center; justify-content: space-between; gap: 8px; overflow-wrap: anywhere }
.weekdays { display: flex; flex-wrap: wrap; gap: 0 8px; font-size: 14px }
.weekdays label { display: inline-flex; align-items: center }
.toasts {
  position: fixed; z-index: calc(var(--carillon-layer, 1000) + 1); inset-block-end: 16px; inset-inline-end: 16px;
  display: flex; flex-direction: column; gap: 8px; width: min(360px, calc(100vw - 32px)); pointer-events: none;
}
.toast {
  display: flex; align-items: center; gap: 8px; padding: 12px 8px 12px 16px; padding-inline: 16px 8px; pointer-events: auto;
  background: var(--surface); border: 1px solid var(--line); border-inline-start: 4px solid var(--accent);
  border-radius: var(--radius); box-shadow: 0 4px 20px rgb(0 0 0 / .25); overflow-wrap: anywhere;
}
.toast > div { flex: 1; min-width: 0 }
.toast .body { -webkit-line-clamp: 2; font-size: 14px; color: var(--muted) }
@media (prefers-reduced-motion: no-preference) { .toast { animation: rise .2s ease-out } }
@keyframes rise { from { opacity: 0; transform: translateY(8px) } }
`;

const PROGRESS = `
:host { display: block }
.line { display: flex; gap: 8px; align-items: baseline; justify-content: space-between; font-size: 14px; overflow-wrap: anywhere }
.percent { color: var(--muted); font-variant-numeric: tabular-nums }
.track { height: 8px; margin-block-start: 6px; border-radius: 4px; background: var(--line); overflow: hidden }
.bar { height: 100%; width: 0; background: var(--accent); border-radius: 4px; transition: width .2s }
.done .bar { background: var(--good) }
.failed .bar { background: var(--badge) }
.failed .message { color: var(--badge) }
.unknown .bar { width: 30% }
@media (prefers-reduced-motion: no-preference) { .unknown .bar { animation: slide 1.4s infinite ease-in-out alternate } }
@keyframes slide { to { margin-inline-start: 70% } }
`;

function sheet(text: string): () => CSSStyleSheet {
  let made: CSSStyleSheet | null = null;
  return () => {
    if (!made) {
      made = new CSSStyleSheet();
      made.replaceSync(THEME + text);
    }
    return made;
  };
}

export const inboxSheet = sheet(INBOX);
export const progressSheet = sheet(PROGRESS);
