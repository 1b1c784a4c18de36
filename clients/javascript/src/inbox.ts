import { CarillonClient } from "./client.ts";
import type { TokenSource } from "./api.ts";
import { h, icon, iconButton, set } from "./dom.ts";
import { ListView } from "./list.ts";
import { SettingsView } from "./settings.ts";
import { inboxSheet } from "./styles.ts";
import { Language } from "./texts.ts";
import { Toasts } from "./toasts.ts";
import type { Frame, Item } from "./types.ts";

const TICK_MS = 30_000;

/**
 * `<carillon-inbox>`: a bell with a badge, and behind it the inbox.
 *
 * Attributes: `token` (or the property `tokenSource`, a function), `url`, `lang`, `theme` (light, dark, auto; without
 * it as the page), `placement` (end, start, inline), `toasts` ("off" for none). Events: `carillon-open` when an item
 * is opened (`preventDefault()` keeps the browser where it is), `carillon-counts`, `carillon-state`.
 */
export class CarillonInbox extends HTMLElement {
  static readonly observedAttributes = ["token", "url", "lang"];
  #client: CarillonClient | null = null;
  #source: TokenSource | null = null;
  #parts: Parts | null = null;
  #starting = false;

  /** The client behind it, which a page may use as well. */
  get client(): CarillonClient | null {
    return this.#client;
  }

  /** Gets a fresh token whenever one is needed. */
  set tokenSource(source: TokenSource | null) {
    this.#source = source;
    this.#restart();
  }

  connectedCallback(): void {
    this.#restart();
  }

  disconnectedCallback(): void {
    this.#stop();
  }

  attributeChangedCallback(name: string): void {
    if (name !== "lang") this.#restart();
    else if (this.#client) this.#draw();
  }

  open(): void {
    this.#parts?.open();
  }

  close(): void {
    this.#parts?.close();
  }

  /** Several things may be set one after the other; it starts once. */
  #restart(): void {
    if (this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      this.#stop();
      if (this.isConnected) this.#start();
    });
  }

  #start(): void {
    const token = this.#source ?? this.getAttribute("token");
    if (!token) return this.shadowRoot?.replaceChildren();
    this.#client = new CarillonClient({ url: this.getAttribute("url") ?? "", token });
    this.#draw();
    document.dispatchEvent(new CustomEvent("carillon-client", { detail: this }));
    void this.#client.start();
  }

  /** Makes what is seen, in the language of the moment. */
  #draw(): void {
    this.#parts?.end();
    const tag = this.closest<HTMLElement>("[lang]")?.lang || navigator.language || "en";
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [inboxSheet()];
    this.#parts = new Parts(this, this.#client!, new Language(tag));
    root.replaceChildren(...this.#parts.elements);
  }

  #stop(): void {
    this.#parts?.end();
    this.#client?.close();
    this.#parts = this.#client = null;
  }
}

/** What is in the element, for one client and language. */
class Parts {
  readonly elements: HTMLElement[];
  readonly #badge = h("span", { class: "badge", part: "badge", "aria-hidden": "true", hidden: true });
  readonly #bell: HTMLButtonElement;
  readonly #panel: HTMLElement;
  readonly #state = h("div", { class: "state", role: "status", hidden: true });
  readonly #said = h("div", { class: "quietly", role: "status" });
  readonly #heading = h("h2", { id: "title" });
  readonly #gear: HTMLButtonElement;
  readonly #back: HTMLButtonElement;
  readonly #list: ListView;
  readonly #settings: SettingsView;
  readonly #toasts: Toasts;
  readonly #inline: boolean;
  readonly #end = new AbortController();
  #resting = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly client: CarillonClient,
    private readonly language: Language,
  ) {
    const say = language.say.bind(language);
    this.#inline = host.getAttribute("placement") === "inline";
    this.#bell = h("button", { type: "button", class: "bell", part: "bell", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => this.toggle() }, icon("bell"), this.#badge);
    this.#list = new ListView(client, language, (item) => this.#opened(item), (text) => this.#announce(text));
    this.#settings = new SettingsView(client, language);
    this.#toasts = new Toasts(language, (item) => this.#fromToast(item));
    this.#gear = iconButton("gear", say("settings"), () => this.#showSettings(true));
    this.#back = iconButton("back", say("back"), () => this.#showSettings(false), { hidden: true });
    const dismiss = iconButton("close", say("close"), () => this.close(), { class: "icon-button dismiss" });
    const header = h("header", {}, this.#back, this.#heading, this.#gear, dismiss);
    this.#settings.element.hidden = true;
    this.#panel = h(
      "div",
      { class: "panel", part: "panel", role: this.#inline ? "region" : "dialog", "aria-labelledby": "title", lang: language.tag, tabindex: -1, hidden: !this.#inline },
      header,
      this.#state,
      this.#list.element,
      this.#settings.element,
    );
    this.#heading.textContent = say("title");
    this.elements = [this.#inline ? null : this.#bell, this.#panel, this.#toasts.element, this.#said].filter((part) => part !== null);
    this.#count();
    this.#showState();
    this.#listen(this.#end.signal);
    if (client.counts.seq >= 0) void this.#list.reload();
  }

  #listen(signal: AbortSignal): void {
    const { client } = this;
    const on = (name: string, run: (detail: never) => void) =>
      client.addEventListener(name, (event) => run((event as CustomEvent).detail as never), { signal });
    on("counts", () => this.#count());
    on("state", () => this.#showState());
    on("reset", () => void this.#list.reload().then(() => this.#seen()));
    on("frame", (frame: Frame) => this.#frame(frame));
    this.#panel.addEventListener("keydown", (event) => event.key === "Escape" && this.close(), { signal });
    document.addEventListener("pointerdown", (event) => !event.composedPath().includes(this.host) && this.close(false), { signal });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    // Whoever has left by keyboard does not come back to a panel that covers the page.
    this.host.addEventListener("focusout", (event) => event.relatedTarget && this.close(false), { signal });
    const ticking = setInterval(() => this.#list.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(ticking));
  }

  end(): void {
    this.#end.abort();
    this.#list.close();
  }

  toggle(): void {
    if (this.#panel.hidden) this.open();
    else this.close();
  }

  open(): void {
    this.#panel.hidden = false;
    this.#fit();
    this.#toasts.clear();
    set(this.#bell, { "aria-expanded": "true" });
    this.#list.focus();
    this.#seen();
  }

  /** No part of it is outside the window, wherever the bell is; below, unless little would be left of it. */
  #fit(): void {
    const { style } = this.#panel;
    style.maxHeight = style.translate = "";
    if (getComputedStyle(this.#panel).position !== "absolute") return;
    const { top, left, right } = this.#panel.getBoundingClientRect();
    style.maxHeight = `${Math.max(360, innerHeight - top - 12)}px`;
    const wide = document.documentElement.clientWidth;
    style.translate = `${Math.max(8 - left, Math.min(0, wide - 8 - right))}px`;
  }

  close(returnsFocus = true): void {
    if (this.#inline || this.#panel.hidden) return;
    this.#panel.hidden = true;
    set(this.#bell, { "aria-expanded": "false" });
    this.#showSettings(false);
    if (returnsFocus) this.#bell.focus();
  }

  #frame(frame: Frame): void {
    this.#list.apply(frame);
    const item = frame.event === "notification" ? (frame.data.item as Item) : null;
    if (item && !item.read_at && !item.archived_at) this.#isNew(item);
    this.#seen();
  }

  #isNew(item: Item): void {
    if (!this.#panel.hidden) this.#announce(item.title);
    else if (this.host.getAttribute("toasts") !== "off" && document.visibilityState === "visible") this.#toasts.add(item);
  }

  /** What is in the open list has been seen; said once a second, however much comes. */
  #seen(): void {
    if (this.#resting || this.#panel.hidden || document.visibilityState !== "visible") return;
    if (this.client.counts.unseen === 0 || this.client.state !== "live") return;
    this.#resting = true;
    this.client.all("seen-all").catch(() => undefined);
    const again = () => {
      this.#resting = false;
      if (!this.#end.signal.aborted) this.#seen();
    };
    setTimeout(again, 1000);
  }

  #count(): void {
    const { unread } = this.client.counts;
    const title = this.language.say("title");
    this.#badge.hidden = unread === 0;
    this.#badge.textContent = unread > 99 ? "99+" : this.language.number(unread);
    set(this.#bell, { "aria-label": unread ? `${title}, ${this.language.say("unread", { n: this.language.number(unread) })}` : title });
    this.#list.count();
    this.host.dispatchEvent(new CustomEvent("carillon-counts", { detail: this.client.counts }));
  }

  #showState(): void {
    const { state } = this.client;
    const known = state === "connecting" || state === "offline" || state === "refused";
    this.#state.hidden = !known;
    set(this.#state, { class: `state ${state}` });
    this.#state.textContent = known ? this.language.say(state) : "";
    set(this.host, { "data-state": state });
    this.#seen();
    this.host.dispatchEvent(new CustomEvent("carillon-state", { detail: state }));
  }

  #showSettings(shown: boolean): void {
    if (shown !== this.#settings.element.hidden) return;
    this.#settings.element.hidden = !shown;
    this.#gear.hidden = shown;
    this.#back.hidden = !shown;
    this.#list.element.hidden = shown;
    this.#heading.textContent = this.language.say(shown ? "settings" : "title");
    if (shown) void this.#settings.load();
    (shown ? this.#back : this.#gear).focus();
  }

  #opened(item: Item): boolean {
    const event = new CustomEvent("carillon-open", { detail: item, cancelable: true, bubbles: true, composed: true });
    return this.host.dispatchEvent(event);
  }

  #fromToast(item: Item | null): void {
    this.open();
    if (item) (this.#panel.querySelector(`[data-id="${item.id}"]`) as HTMLElement | null)?.focus();
  }

  #announce(text: string): void {
    this.#said.textContent = text;
  }
}
