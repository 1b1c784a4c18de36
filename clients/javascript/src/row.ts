import { type Icon, h, iconButton, safeLink, set, textButton } from "./dom.ts";
import type { Language } from "./texts.ts";
import type { Change, Item } from "./types.ts";

export interface RowUser {
  readonly language: Language;
  change(item: Item, change: Change): void;
  remove(item: Item): void;
  /** Somebody opens the item; false when the page goes on from here itself. */
  open(item: Item): boolean;
}

/** What of an item its row shows. */
function looks({ title, body, action_url, priority, read_at, archived_at, snoozed_until }: Item): string {
  return JSON.stringify([title, body, action_url, priority, !read_at, !archived_at, snoozed_until]);
}

/** One item of the list. It stays the same element through all its changes, so that focus is not lost. */
export class Row {
  readonly element: HTMLLIElement;
  item: Item;
  #drawn = "";
  #pressed = false;
  readonly #user: RowUser;

  constructor(item: Item, user: RowUser) {
    this.item = item;
    this.#user = user;
    this.element = h("li", {
      class: "item",
      tabindex: -1,
      "data-id": item.id,
      onkeydown: (event) => this.#key(event as KeyboardEvent),
      onpointerdown: () => this.#press(),
    });
    this.#draw();
  }

  update(item: Item): void {
    this.item = item;
    if (this.#pressed || looks(item) === this.#drawn) return;
    if (this.element.querySelector(".ask")) return; // a question stays until it is answered
    const within = this.element.getRootNode() as ShadowRoot;
    const focused = this.element.contains(within.activeElement) ? within.activeElement?.getAttribute("data-do") : null;
    this.#draw();
    if (focused) (this.element.querySelector<HTMLElement>(`[data-do="${focused}"]`) ?? this.element).focus();
  }

  /** A button that went while it is pressed would lose the click, so changes wait for the pointer. */
  #press(): void {
    this.#pressed = true;
    const end = new AbortController();
    const released = () => {
      end.abort();
      setTimeout(() => { // the click comes first
        this.#pressed = false;
        this.update(this.item);
      });
    };
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, released, { signal: end.signal });
  }

  /** Times go on while nothing else does. */
  tick(): void {
    const time = this.element.querySelector("time");
    if (time) time.textContent = this.#when();
  }

  #draw(): void {
    const { item } = this;
    const say = this.#user.language.say.bind(this.#user.language);
    this.#drawn = looks(item);
    set(this.element, { class: `item ${item.read_at ? "" : "unread"}`, part: `item${item.read_at ? "" : " unread"}` });
    const meta = h(
      "div",
      { class: "meta" },
      item.priority === "critical" && h("span", { class: "urgent" }, say("urgent")),
      h("time", { dir: "auto", datetime: item.created_at, title: this.#user.language.moment(item.created_at) }, this.#when()),
      item.snoozed_until &&
        h("span", {}, say("until", { time: this.#user.language.moment(item.snoozed_until, { dateStyle: "medium", timeStyle: "short" }) })),
      h("span", { class: "spring" }),
      this.#actions(),
    );
    const children = [!item.read_at && h("span", { class: "quietly" }, `${say("isUnread")}. `), this.#title()];
    this.element.replaceChildren(...children.filter((child) => child instanceof Node));
    if (item.body) this.element.append(h("p", { class: "body", dir: "auto" }, item.body));
    this.element.append(meta);
  }

  #title(): HTMLElement {
    const link = safeLink(this.item.action_url);
    const more = { class: "title", dir: "auto", "data-do": "open", onclick: (event: Event) => this.#open(event) };
    if (link) return h("a", { ...more, href: link, rel: "noopener noreferrer" }, this.item.title);
    return h("button", { ...more, type: "button" }, this.item.title);
  }

  #actions(): HTMLElement {
    const { item } = this;
    const act = (icon: Icon, key: Parameters<Language["say"]>[0], run: () => void) =>
      iconButton(icon, this.#user.language.say(key), run, { "data-do": icon });
    return h(
      "div",
      { class: "acts", role: "group", "aria-label": this.#user.language.say("actions") },
      item.read_at
        ? act("unread", "unreadAgain", () => this.#change({ read: false }))
        : act("read", "read", () => this.#change({ read: true })),
      item.snoozed_until
        ? act("bell", "wake", () => this.#change({ snoozed_until: null }))
        : act("snooze", "snooze", () => this.#ask(this.#snoozes())),
      item.archived_at
        ? act("unarchive", "unarchive", () => this.#change({ archived: false }))
        : act("archive", "archive", () => this.#change({ archived: true })),
      act("remove", "remove", () => this.#ask(this.#sure())),
    );
  }

  #snoozes(): HTMLElement[] {
    const say = this.#user.language.say.bind(this.#user.language);
    const until = (days: number, time: Date) => {
      if (days) time.setHours(8, 0, 0, 0);
      time.setDate(time.getDate() + days);
      this.#change({ snoozed_until: time.toISOString() });
    };
    return [
      textButton(say("hour"), () => until(0, new Date(Date.now() + 3_600_000))),
      textButton(say("tomorrow"), () => until(1, new Date())),
      textButton(say("week"), () => until(7, new Date())),
    ];
  }

  #sure(): HTMLElement[] {
    const { say } = { say: this.#user.language.say.bind(this.#user.language) };
    return [h("span", {}, say("removeSure")), textButton(say("remove"), () => this.#user.remove(this.item))];
  }

  /** Puts a question in the place of the actions. */
  #ask(answers: HTMLElement[]): void {
    const cancel = textButton(this.#user.language.say("cancel"), () => this.#draw());
    cancel.addEventListener("click", () => this.element.focus());
    this.element.querySelector(".acts")?.replaceWith(h("div", { class: "ask", role: "group" }, ...answers, cancel));
    this.element.querySelector<HTMLElement>(".ask button")?.focus();
  }

  #change(change: Change): void {
    this.#user.change(this.item, change);
  }

  #open(event: Event): void {
    const goes = this.#user.open(this.item);
    if (!goes) event.preventDefault();
    else if (!this.item.read_at) this.#change({ read: true });
  }

  /** Shortcuts hold only while an item itself has the focus. */
  #key(event: KeyboardEvent): void {
    if (event.key === "Escape" && this.element.querySelector(".ask")) {
      event.stopPropagation();
      this.#draw();
      this.element.focus();
    }
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") this.element.querySelector<HTMLElement>(".title")?.click();
    else if (event.key === "Delete") this.#ask(this.#sure());
    else if (event.key === "r") this.#change({ read: !this.item.read_at });
    else if (event.key === "e") this.#change({ archived: !this.item.archived_at });
    else if (event.key === "s") this.#ask(this.#snoozes());
    else return;
    event.preventDefault();
  }

  #when(): string {
    return this.#user.language.ago(this.item.created_at);
  }
}
