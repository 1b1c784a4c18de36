type Listener = (event: Event) => unknown;
type Value = string | number | boolean | null | undefined | Listener;
export type Child = Node | string | null | undefined | false;

/** Makes an element: `on…` are listeners, true is an empty attribute, null and false leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  set(made, attributes);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets attributes as `h` does, and takes away those that are null or false. */
export function set(element: Element, attributes: Record<string, Value>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : String(value));
  }
}

const PATHS = {
  bell: "M12 3a6 6 0 0 0-6 6c0 5-2 6-2 8h16c0-2-2-3-2-8a6 6 0 0 0-6-6zM10 20a2 2 0 0 0 4 0",
  gear: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4v6M8 14v6",
  close: "M6 6l12 12M18 6L6 18",
  back: "M15 5l-7 7 7 7",
  read: "M4 12l5 5L20 6",
  unread: "M4 6h16v12H4zM4 7l8 6 8-6",
  archive: "M4 4h16v5H4zM5 9v11h14V9M10 13h4",
  unarchive: "M4 14v6h16v-6M12 15V4M8 8l4-4 4 4",
  snooze: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};

export type Icon = keyof typeof PATHS;

export function icon(name: Icon): SVGElement {
  const space = "http://www.w3.org/2000/svg";
  const made = document.createElementNS(space, "svg");
  set(made, { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon icon-${name}` });
  const path = document.createElementNS(space, "path");
  set(path, { d: PATHS[name] });
  made.append(path);
  return made;
}

/** A button that is an icon, with a name for those who do not see it. */
export function iconButton(name: Icon, label: string, onclick: Listener, more: Record<string, Value> = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export function textButton(label: string, onclick: Listener, className = "text-button"): HTMLButtonElement {
  return h("button", { type: "button", class: className, onclick }, label);
}

/** An address that may be opened: http and https only, whatever a producer wrote. */
export function safeLink(url: string | null): string | null {
  if (!url) return null;
  try {
    const whole = new URL(url, location.href);
    return ["http:", "https:"].includes(whole.protocol) ? whole.href : null;
  } catch {
    return null;
  }
}
