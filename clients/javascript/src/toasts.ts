import { h, iconButton } from "./dom.ts";
import type { Language } from "./texts.ts";
import type { Item } from "./types.ts";

const SHOWN_MS = 7_000;
const TOGETHER_MS = 150;
const AT_ONCE = 3;

/** Shows what is new for a moment; what comes in a crowd is shown as a number. Time stands still under the pointer. */
export class Toasts {
  readonly element = h("div", { class: "toasts", role: "status", "aria-live": "polite", part: "toasts" });
  #waiting: Item[] = [];
  #timer: number | undefined;

  constructor(
    private readonly language: Language,
    private readonly open: (item: Item | null) => void,
  ) {}

  add(item: Item): void {
    this.#waiting.push(item);
    this.#timer ??= setTimeout(() => this.#show(), TOGETHER_MS) as unknown as number;
  }

  /** Takes all away: whoever looks at the list needs none. */
  clear(): void {
    this.#waiting = [];
    this.element.replaceChildren();
  }

  #show(): void {
    this.#timer = undefined;
    const items = this.#waiting.splice(0);
    if (items.length > AT_ONCE) this.#put(this.language.say("many", { n: items.length }), "", null);
    else for (const item of items) this.#put(item.title, item.body, item);
  }

  #put(title: string, body: string, item: Item | null): void {
    const close = () => {
      clearTimeout(timer);
      toast.remove();
    };
    const open = () => {
      close();
      this.open(item);
    };
    const text = h("div", {}, h("button", { type: "button", class: "title", dir: "auto", onclick: open }, title), body ? h("p", { class: "body", dir: "auto" }, body) : null);
    const toast = h("div", { class: "toast", part: "toast" }, text, iconButton("close", this.language.say("close"), close));
    let timer = setTimeout(close, SHOWN_MS);
    const hold = () => clearTimeout(timer);
    const go = () => {
      clearTimeout(timer);
      timer = setTimeout(close, SHOWN_MS);
    };
    for (const [name, run] of [["mouseenter", hold], ["focusin", hold], ["mouseleave", go], ["focusout", go]] as const) {
      toast.addEventListener(name, run);
    }
    while (this.element.children.length >= AT_ONCE) this.element.firstElementChild?.remove();
    this.element.append(toast);
  }
}
